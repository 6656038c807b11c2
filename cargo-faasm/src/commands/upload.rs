//! `cargo faasm upload`

use std::path::PathBuf;
use std::process::ExitCode;

use py_func::{RUNTIME_NAME, Registry, StoredFunction};

use crate::call;
use crate::cli::{self, Format, Global, Limits, Upload};
use crate::error;
use crate::image;
use crate::shell::{self, Shell};
use crate::units::show_size;

/// Those of the library: what an upload may take is not what a call may take.
const DEFAULT_LIMITS: Limits = Limits { timeout: None, memory: None, output: None };

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Upload) -> anyhow::Result<ExitCode> {
    let store = Registry::from_env()?;
    if arguments.function == RUNTIME_NAME {
        upload_runtime(shell, global, arguments, &store)
    } else {
        upload_function(shell, global, arguments, &store)
    }
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

fn upload_function(
    shell: &Shell,
    global: &Global,
    arguments: &Upload,
    store: &Registry,
) -> anyhow::Result<ExitCode> {
    let Upload { user, function, .. } = arguments;
    let file = arguments.file.clone().unwrap_or_else(|| PathBuf::from(format!("{function}.py")));
    let source = call::read_function(&file)?;
    let image = image::select(*shell, global, &arguments.image, Some(store))?;
    let runtime = call::runtime(&image.directory, DEFAULT_LIMITS, None)?;
    let stored = store.upload(&runtime, user, function, &source).map_err(|error| {
        let error = anyhow::Error::from(error);
        let Some(failure) = error::failed_call(&error) else { return error };
        // Whatever the module printed may say why it cannot be imported.
        shell::raw_stderr(&failure.stdout);
        shell::raw_stderr(&failure.stderr);
        error.context(format!("{user}/{function} was not uploaded, because it cannot be loaded"))
    })?;
    let StoredFunction { bytes, .. } = stored;
    shell.status("Uploaded", format_args!("{user}/{function} ({})", show_size(bytes)));
    if arguments.message.format == Format::Json {
        shell::json(&super::list::function_json("function-uploaded", &stored))?;
    }
    Ok(ExitCode::SUCCESS)
}
