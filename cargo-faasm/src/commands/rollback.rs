//! `cargo faasm rollback`

use std::process::ExitCode;

use py_func::server::FunctionDocument;
use py_func::{Registry, StoredFunction};
use reqwest::Method;

use super::upload;
use crate::call;
use crate::cli::{Format, Global, Rollback};
use crate::error::input;
use crate::image;
use crate::remote::Remote;
use crate::shell::{self, Shell};

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Rollback) -> anyhow::Result<ExitCode> {
    let Rollback { user, function, .. } = arguments;
    let stored = match Remote::named(&arguments.remote)? {
        Some(server) => roll_back_remotely(&server, arguments)?,
        None => roll_back(shell, global, arguments)?,
    };
    shell.status("Rolled back", format_args!("{user}/{function} to version {}", stored.version()));
    if arguments.message.format == Format::Json {
        shell::json(&super::list::function_json("function-rolled-back", &stored))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn roll_back_remotely(server: &Remote, arguments: &Rollback) -> anyhow::Result<StoredFunction> {
    let Rollback { user, function, version, .. } = arguments;
    let query: Vec<(&str, &str)> = version.iter().map(|version| ("version", version.as_str())).collect();
    let request = server.request_with(Method::POST, &["p", user, function, "rollback"], &query)?;
    Ok(server.json::<FunctionDocument>(request)?.into())
}

fn roll_back(shell: &Shell, global: &Global, arguments: &Rollback) -> anyhow::Result<StoredFunction> {
    let Rollback { user, function, version, .. } = arguments;
    let store = Registry::from_env()?;
    let version = match version {
        Some(version) => version.clone(),
        None => match store.versions(user, function)?.get(1) {
            Some(before) => before.version().to_owned(),
            None => return Err(input(format!("{user}/{function} has no version before this one")).into()),
        },
    };
    let source = store.source_of_version(user, function, &version)?;
    let image = image::select(*shell, global, &arguments.image, Some(&store))?;
    let runtime = call::runtime(&image.directory, upload::DEFAULT_LIMITS, None)?;
    Ok(store.upload(&runtime, user, function, &source)?)
}
