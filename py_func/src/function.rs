//! Functions: a module that was imported once, kept as an image of the memory after that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use faasm_image::{Fault, Guest, MemoryImage};
use wasmtime_wasi::I32Exit;

use crate::call::{Call, CallError, CallFailure, Output, Usage};
use crate::error::Error;
use crate::host::{Host, OutputTooLarge, SleptTooLong, abi};
use crate::runtime::{Inner, Runtime};

/// The entry point of a function that names no other.
const DEFAULT_ENTRY: &str = "faasm_main";

/// A function, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    pub(crate) inner: Arc<Loaded>,
    pub(crate) runtime: Arc<Inner>,
}

impl Function {
    /// A call with `input`, in a sandbox of its own. Nothing happens before it is awaited.
    pub fn call(&self, input: impl Into<Vec<u8>>) -> Call<'_> {
        Call { function: self, input: input.into(), entry: None, timeout: None }
    }

    /// Whose function it is.
    pub fn user(&self) -> &str {
        &self.inner.user
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

/// A function that is about to be loaded.
#[must_use = "nothing is loaded before `load` is called"]
pub struct FunctionBuilder<'a> {
    runtime: &'a Runtime,
    user: String,
    name: String,
    file: Option<String>,
    source: Option<Vec<u8>>,
    entry: String,
}

impl<'a> FunctionBuilder<'a> {
    pub(crate) fn new(runtime: &'a Runtime, user: &str, name: &str) -> Self {
        let (user, name) = (user.to_owned(), name.to_owned());
        Self { runtime, user, name, file: None, source: None, entry: DEFAULT_ENTRY.to_owned() }
    }

    /// The source of the function's module.
    pub fn source(mut self, source: impl Into<Vec<u8>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What tracebacks call the source; by default `<name>.py`.
    pub fn file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The entry point of calls that name no other; by default `faasm_main`.
    pub fn entry(mut self, entry: impl Into<String>) -> Self {
        self.entry = entry.into();
        self
    }

    /// Imports the module, in a sandbox with the runtime's limits, and keeps the memory for calls to start from. Blocks for
    /// milliseconds, or as long as the module's own code takes.
    ///
    /// # Errors
    ///
    /// When a name cannot be used, there is no source, or the import fails.
    pub fn load(self) -> Result<Function, Error> {
        for name in [&self.user, &self.name] {
            if !is_valid_name(name) {
                return Err(Error::Name { name: name.clone() });
            }
        }
        let runtime = Arc::clone(&self.runtime.inner);
        let Self { user, name, entry, .. } = self;
        let Some(source) = self.source else { return Err(Error::NoSource { user, function: name }) };
        let file = self.file.unwrap_or_else(|| format!("{name}.py"));

        // The texts end with a NUL, so none may contain one.
        let mut request = Vec::new();
        for text in [&name, &file, &entry] {
            request.extend(text.bytes().filter(|&byte| byte != 0));
            request.push(0);
        }
        request.extend(source);

        let job = Arc::clone(&runtime);
        let loaded = runtime.executor.run_blocking(move || {
            let started = Instant::now();
            let mut sandbox = Sandbox::new(&job, job.base(), request, None)?;
            let status = sandbox.guest.call("faasm_load", ());
            let memory = sandbox.guest.capture();
            // Whatever went wrong in the guest explains itself better than a memory that cannot be captured.
            sandbox.finish(started, status).map(|_| memory)
        });
        let memory = match loaded.unwrap_or_else(|| Err(CallFailure::stopped())) {
            Ok(memory) => memory?,
            Err(source) => return Err(Error::Load { user, function: name, source }),
        };
        Ok(Function { inner: Arc::new(Loaded { user, name, memory }), runtime })
    }
}

/// Names of users and functions become names of files and parts of addresses.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(valid)
}

/// What is kept of a function.
pub(crate) struct Loaded {
    user: String,
    name: String,
    memory: MemoryImage,
}

impl Loaded {
    /// Makes a call on this thread.
    pub(crate) fn run(
        &self,
        runtime: &Inner,
        input: Vec<u8>,
        entry: Option<&str>,
        timeout: Option<Duration>,
    ) -> Result<Output, CallFailure> {
        let started = Instant::now();
        let mut sandbox = Sandbox::new(runtime, &self.memory, input, timeout)?;
        let status = sandbox.call(entry.unwrap_or_default());
        sandbox.finish(started, status)
    }
}

/// A guest with the limits it was given, for what its end is to be called.
struct Sandbox {
    guest: Guest<Host>,
    memory_limit: usize,
    output_limit: usize,
    time_limit: Duration,
}

impl Sandbox {
    fn new(
        runtime: &Inner,
        memory: &MemoryImage,
        input: Vec<u8>,
        timeout: Option<Duration>,
    ) -> Result<Self, CallFailure> {
        let limits = runtime.limits(timeout);
        let start = || -> Result<_, Box<dyn std::error::Error>> {
            let deadline = limits.deadline.and_then(|after| Instant::now().checked_add(after));
            let host = Host::new(runtime.root(), input, runtime.output_limit, deadline);
            Ok(runtime.program.instantiate(memory, limits, host)?)
        };
        match start() {
            Ok(guest) => Ok(Self {
                guest,
                memory_limit: limits.memory,
                output_limit: runtime.output_limit,
                time_limit: timeout.unwrap_or(runtime.timeout),
            }),
            Err(error) => Err(CallFailure::fault(format!("the sandbox did not start: {error}"))),
        }
    }

    fn call(&mut self, entry: &str) -> Result<i32, Fault> {
        let mut pointer = 0_u32;
        let length = entry.len() as u32;
        if length > 0 {
            pointer = self.guest.call("faasm_alloc", (length,))?;
            self.guest.write(pointer, entry.as_bytes())?;
        }
        self.guest.call("faasm_call", (pointer, length))
    }

    /// Reads the results out of the sandbox and drops it.
    fn finish(self, started: Instant, status: Result<i32, Fault>) -> Result<Output, CallFailure> {
        let (memory, hit_memory_limit) = (self.guest.memory_size(), self.guest.memory_limit_hit());
        let remains = self.guest.finish().into_remains();
        let usage = Usage { wall_time: started.elapsed(), memory };
        let (stdout, stderr) = (remains.stdout, remains.stderr);

        let over_memory = |text: String| CallError::MemoryLimit { limit: self.memory_limit, text };
        let error = match (remains.failure, status) {
            // Whatever a flood led to, the flood is what to report.
            _ if remains.flooded => CallError::OutputLimit { limit: self.output_limit },
            (_, Err(Fault::Deadline)) => CallError::TimeLimit { limit: self.time_limit },
            (_, Err(Fault::Memory)) => over_memory(String::new()),
            (_, Err(Fault::StackOverflow)) => CallError::StackLimit,
            (_, Err(Fault::Host(error))) if error.is::<OutputTooLarge>() => {
                CallError::OutputLimit { limit: self.output_limit }
            }
            (_, Err(Fault::Host(error))) if error.is::<SleptTooLong>() => {
                CallError::TimeLimit { limit: self.time_limit }
            }
            (_, Err(Fault::Host(error))) => match error.downcast_ref::<I32Exit>() {
                // `os._exit()`, which skips everything that happens at the end of a call.
                Some(I32Exit(status)) => {
                    return Ok(Output { status: *status, output: remains.output, stdout, stderr, usage });
                }
                None => CallError::Fault { reason: format!("{error:#}") },
            },
            (_, Err(fault)) => CallError::Fault { reason: fault.to_string() },
            (Some((abi::FAASM_FAIL_MEMORY, text)), _) if hit_memory_limit => over_memory(text),
            (Some((kind, text)), _) => match kind {
                abi::FAASM_FAIL_SYNTAX => CallError::Syntax { text },
                abi::FAASM_FAIL_ENTRY => CallError::Entry { text },
                abi::FAASM_FAIL_RESULT => CallError::Result { text },
                _ => CallError::Exception { traceback: text },
            },
            (None, Ok(status)) => {
                return Ok(Output { status, output: remains.output, stdout, stderr, usage });
            }
        };
        Err(CallFailure { error, stdout, stderr, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for name in ["a", "hello_world-2.0", "A", "0", &long] {
            assert!(is_valid_name(name), "{name:?}");
        }
        let too_long = "a".repeat(65);
        for name in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\0", &too_long] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }
}
