//! The interpreter itself as a command, in the sandbox: `python` with its arguments.

use std::path::PathBuf;
use std::sync::Arc;

use faasm_image::{Fault, Limits, Program};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder};

use crate::call::CallError;
use crate::error::Error;
use crate::host::{self, Host};
use crate::runtime::Inner;

/// A run of the interpreter that is about to start. It has the process's standard streams, the arguments and directories it
/// is given, and nothing else.
#[must_use = "nothing runs before `run` is called"]
pub struct Interpreter<'a> {
    runtime: &'a Arc<Inner>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    directories: Vec<(PathBuf, String, FsPerms)>,
    all_to_stderr: bool,
}

impl<'a> Interpreter<'a> {
    pub(crate) fn new(runtime: &'a Arc<Inner>) -> Self {
        let arguments = vec!["python".to_owned()];
        Self { runtime, arguments, variables: Vec::new(), directories: Vec::new(), all_to_stderr: false }
    }

    /// The arguments, as the command `python` takes them.
    pub fn arguments<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// An environment variable.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// A directory of the machine that the guest may read, and the name under which it sees it.
    pub fn read_only(mut self, directory: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.directories.push((directory.into(), guest.into(), FsPerms::ReadOnly));
        self
    }

    /// A directory of the machine that the guest may read and change, and the name under which it sees it.
    pub fn read_write(mut self, directory: impl Into<PathBuf>, guest: impl Into<String>) -> Self {
        self.directories.push((directory.into(), guest.into(), FsPerms::ReadWrite));
        self
    }

    /// Has standard output go where standard error goes, for commands whose standard output has other data.
    pub fn all_to_stderr(mut self) -> Self {
        self.all_to_stderr = true;
        self
    }

    /// Runs the interpreter until it ends, and answers its exit status. There is no time limit.
    ///
    /// # Errors
    ///
    /// When a directory cannot be opened, or the interpreter faults.
    pub fn run(self) -> Result<Result<i32, CallError>, Error> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.inherit_stdio();
        if self.all_to_stderr {
            wasi.stdout(wasmtime_wasi::cli::stderr());
        }
        wasi.args(&self.arguments).envs(&self.variables);
        for (directory, guest, permissions) in &self.directories {
            wasi.preopened_dir(directory, guest, *permissions).map_err(faasm_image::Error::from)?;
        }
        wasi.preopened_dir(self.runtime.image().root(), "/", FsPerms::ReadOnly)
            .map_err(faasm_image::Error::from)?;
        // The image's own is one more.
        let host = Host::command(wasi, self.directories.len() + 1);

        let runtime = self.runtime;
        let program = Program::new(&runtime.image().load_code()?, host::link_command)?;
        let run = async {
            let limits = Limits { memory: 4 << 30, deadline: None, interrupt: None };
            let mut guest = program.instantiate(&runtime.boot()?, limits, host)?;
            let status = match guest.call::<_, ()>("_initialize", ()).await {
                Ok(()) => guest.call("faasm_python", ()).await,
                Err(fault) => Err(fault),
            };
            Ok(status.map_or_else(exit_status, Ok))
        };
        runtime.executor.run_blocking(run).unwrap_or_else(|| {
            Ok(Err(CallError::Fault { reason: "the host has a fault, which it reported above".to_owned() }))
        })
    }
}

fn exit_status(fault: Fault) -> Result<i32, CallError> {
    match fault {
        Fault::Host(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(status)) => Ok(*status),
            None => Err(CallError::Fault { reason: format!("{error:#}") }),
        },
        Fault::StackOverflow => Err(CallError::StackLimit),
        fault => Err(CallError::Fault { reason: fault.to_string() }),
    }
}
