//! `cargo faasm upload`

use std::path::PathBuf;
use std::process::ExitCode;

use py_func::server::{FunctionDocument, RuntimeDocument};
use py_func::{RUNTIME_NAME, Registry, StoredFunction};
use reqwest::Method;

use crate::call;
use crate::cli::{self, Format, Global, Limits, Upload};
use crate::error::{self, input};
use crate::image;
use crate::remote::Remote;
use crate::shell::{self, Shell};
use crate::units::show_size;

/// Those of the library: what an upload may take is not what a call may take.
pub(super) const DEFAULT_LIMITS: Limits = Limits { timeout: None, memory: None, output: None };

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Upload) -> anyhow::Result<ExitCode> {
    if let Some(server) = Remote::named(&arguments.remote)? {
        if arguments.function == RUNTIME_NAME {
            return upload_runtime_remotely(shell, &server, arguments);
        }
        let uploaded = upload_remotely(&server, arguments)?;
        return finish(shell, arguments, uploaded);
    }
    let store = Registry::from_env()?;
    if arguments.function == RUNTIME_NAME {
        upload_runtime(shell, global, arguments, &store)
    } else {
        let uploaded = upload_function(shell, global, arguments, &store)?;
        finish(shell, arguments, uploaded)
    }
}

fn upload_remotely(
    server: &Remote,
    arguments: &Upload,
) -> anyhow::Result<Result<StoredFunction, anyhow::Error>> {
    let request = server.request(Method::PUT, &["p", &arguments.user, &arguments.function])?;
    Ok(match server.call(request.body(source(arguments)?))? {
        Ok(response) => Ok(server.parse::<FunctionDocument>(response)?.into()),
        Err(source) => {
            let (user, function) = (arguments.user.clone(), arguments.function.clone());
            Err(py_func::Error::Load { user, function, source }.into())
        }
    })
}

/// Sends a bundle, or a module, which the server compiles and then runs.
fn upload_runtime_remotely(shell: &Shell, server: &Remote, arguments: &Upload) -> anyhow::Result<ExitCode> {
    let file = arguments.file.as_ref().ok_or_else(|| {
        input("a server is sent a runtime as a bundle")
            .hint("make one with `cargo faasm package`, and name it")
    })?;
    let content = call::read_file(file, "the runtime")?;
    let request = server.request(Method::PUT, &["f", &arguments.user, RUNTIME_NAME])?;
    let runtime: RuntimeDocument = server.json(request.body(content))?;
    shell.status("Uploaded", format_args!("the runtime, Python {}, to {}", runtime.python, server.url()));
    if arguments.message.format == Format::Json
        && let Some(stored) = runtime.into_stored()
    {
        shell::json(&super::list::runtime_json("runtime-uploaded", &stored))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn source(arguments: &Upload) -> anyhow::Result<Vec<u8>> {
    let default = || PathBuf::from(format!("{}.py", arguments.function));
    let file = arguments.file.clone().unwrap_or_else(default);
    call::read_function(&file)
}

fn upload_runtime(
    shell: &Shell,
    global: &Global,
    arguments: &Upload,
    store: &Registry,
) -> anyhow::Result<ExitCode> {
    let named = match &arguments.file {
        Some(directory) => &cli::Image { directory: Some(directory.clone()) },
        None => &arguments.image,
    };
    let image = image::select(*shell, global, named, None)?;
    let stored = store.upload_runtime(&image.directory)?;
    shell.status(
        "Uploaded",
        format_args!("the runtime, Python {}, to {}", stored.python, stored.image.display()),
    );
    if arguments.message.format == Format::Json {
        shell::json(&super::list::runtime_json("runtime-uploaded", &stored))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The inner error is one of the function.
fn upload_function(
    shell: &Shell,
    global: &Global,
    arguments: &Upload,
    store: &Registry,
) -> anyhow::Result<Result<StoredFunction, anyhow::Error>> {
    let Upload { user, function, .. } = arguments;
    let source = source(arguments)?;
    let image = image::select(*shell, global, &arguments.image, Some(store))?;
    let runtime = call::runtime(&image.directory, DEFAULT_LIMITS, None)?;
    Ok(store.upload(&runtime, user, function, &source).map_err(anyhow::Error::from))
}

fn finish(
    shell: &Shell,
    arguments: &Upload,
    uploaded: Result<StoredFunction, anyhow::Error>,
) -> anyhow::Result<ExitCode> {
    let Upload { user, function, .. } = arguments;
    let stored = uploaded.map_err(|error| {
        let Some(failure) = error::failed_call(&error) else { return error };
        // Whatever the module printed may say why it cannot be imported.
        shell::raw_stderr(&failure.stdout);
        shell::raw_stderr(&failure.stderr);
        error.context(format!("{user}/{function} was not uploaded, because it cannot be loaded"))
    })?;
    shell.status("Uploaded", format_args!("{user}/{function} ({})", show_size(stored.bytes)));
    if arguments.message.format == Format::Json {
        shell::json(&super::list::function_json("function-uploaded", &stored))?;
    }
    Ok(ExitCode::SUCCESS)
}
