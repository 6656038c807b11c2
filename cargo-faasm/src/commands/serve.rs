//! `cargo faasm serve`

mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use faasm_bundle::{Location, PublicKey};
use py_func::server::{CallState, Details, First, Named, Server, Settings, StartImage};
use py_func::{Registry, Runtime, StoredRuntime};
use serde_json::json;

use crate::call;
use crate::cli::{Format, Global, Serve};
use crate::error::input;
use crate::image;
use crate::package::{self, Place};
use crate::shell::{self, Shell};
use crate::units::show_duration;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Serve) -> anyhow::Result<ExitCode> {
    let options = &arguments.options;
    if let Some(url) = options.storage_url().filter(|_| global.offline) {
        return Err(
            input(format!("{url} is not on this machine, and --offline forbids to ask for it")).into()
        );
    }
    let on_call = {
        let shell = *shell;
        Arc::new(move |call: &Details| show(shell, call))
    };
    let key = arguments.trust.trust.as_deref().map(PublicKey::read).transpose()?;
    let store = options.store(Registry::from_env()?);
    let storage = options.open_storage(&store)?;
    let mut named = match &arguments.runtime {
        Some(url) => Named::bundle(&Location::parse(url)?),
        None => arguments.image.directory.as_deref().and_then(Named::image),
    };
    let fetch = |url: &str| -> anyhow::Result<StoredRuntime> {
        let storage = storage.as_deref().unwrap_or(&store);
        Ok(super::fetch::fetch(*shell, global, &store, storage, url, &arguments.trust)?.runtime)
    };
    let choose = |named: Option<&Named>| {
        First::choose(&store, storage.as_deref(), named, fetch, |text| shell.warn(text))
    };
    let upgraded = |it: &StartImage| {
        shell.status("Running", "what this server was upgraded to");
        (it.directory.clone(), it.bundle.clone())
    };
    // These keep the cache and the store from removing the image while it is used.
    let (selected, fetched, start);
    let (image, bundle) = match (choose(named.as_ref())?, &arguments.runtime) {
        (First::Upgraded(it), _) => {
            start = it;
            upgraded(&start)
        }
        (_, Some(url)) => {
            fetched = fetch(url)?;
            let is_local = Location::parse(url)?.is_local();
            (fetched.image.clone(), (!is_local).then(|| url.clone()))
        }
        (first, None) => {
            let usable = Some(&store).filter(|_| !matches!(first, First::Other));
            selected = image::select(*shell, global, &arguments.image, usable)?;
            let directory = selected.directory.clone();
            // That of a package goes before the store's, as if it was named.
            let is_package = named.is_none()
                && match usable {
                    Some(store) => store.runtime()?.is_none_or(|it| it.image != directory),
                    None => matches!(package::locate(global)?, Place::Package(_)),
                };
            if is_package {
                named = Named::image(&directory);
            }
            match is_package.then(|| choose(named.as_ref())).transpose()? {
                Some(First::Upgraded(it)) => {
                    start = it;
                    upgraded(&start)
                }
                _ => (directory, None),
            }
        }
    };
    let runtime = options.runtime(Runtime::builder().image(&image));
    let runtime = call::limited(runtime, arguments.limits);
    let settings = Settings {
        listen: arguments.listen,
        on_call: Some(on_call),
        bundle,
        ..options.settings(storage, key, named)?
    };
    let server = Server::bind(settings, runtime, store)?;

    // Functions are there before clients are told to come.
    if let Some(directory) = &arguments.watch {
        watch::start(*shell, directory, &arguments.user, server.uploader())?;
    }
    server.run_until_signal(|server| {
        shell.status("Listening", format_args!("on {}", server.url()));
        if arguments.message.format == Format::Json {
            // When nobody reads it, that is no reason not to serve.
            let _ = shell::json(&json!({ "reason": "listening", "url": server.url() }));
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A line for a call, and what made it fail.
fn show(shell: Shell, call: &Details) {
    let Details { summary, failure, .. } = call;
    let took = show_duration(std::time::Duration::from_secs_f64(summary.seconds.unwrap_or_default()));
    let name = format!("{}/{}", summary.user, summary.function);
    match (summary.state, failure) {
        (CallState::Returned, _) => {
            shell.status("Called", format_args!("{name}: status {} in {took}", summary.status.unwrap_or(0)));
        }
        (_, Some(failure)) => {
            shell.warn(format_args!("{name} failed in {took}: {}", failure.message.trim_end()));
        }
        (state, None) => shell.status("Called", format_args!("{name}: {} in {took}", state.name())),
    }
}
