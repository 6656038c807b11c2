//! `cargo faasm serve`

mod watch;

use std::process::ExitCode;
use std::sync::Arc;

use faasm_bundle::{Location, PublicKey};
use py_func::server::{Access, CallState, Details, Server, Settings, Tls, Tokens};
use py_func::{Bucket, Registry, Storage};
use serde_json::json;

use crate::call;
use crate::cli::{Format, Global, Serve};
use crate::error::input;
use crate::image;
use crate::shell::{self, Shell};
use crate::units::show_duration;

/// How large outputs may be if the command line does not say it: as bodies of requests.
const OUTPUT: usize = 64 << 20;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Serve) -> anyhow::Result<ExitCode> {
    let access = match (&arguments.tokens, arguments.insecure_no_auth) {
        (Some(path), _) => Access::Tokens(Tokens::read(path)?),
        (None, true) => Access::Anyone,
        (None, false) => Access::Loopback,
    };
    let tls = arguments.tls_certificate.clone().zip(arguments.tls_key.clone());
    let on_call = {
        let shell = *shell;
        Arc::new(move |call: &Details| show(shell, call))
    };
    let storage: Option<Arc<dyn Storage>> = match &arguments.storage {
        Some(url) if global.offline => {
            return Err(
                input(format!("{url} is not on this machine, and --offline forbids to ask for it")).into()
            );
        }
        Some(url) => Some(Arc::new(Bucket::open(&Location::parse(url)?)?)),
        None => None,
    };
    let settings = Settings {
        listen: arguments.listen,
        access,
        tls: tls.map(|(certificate, key)| Tls { certificate, key }),
        storage: storage.clone(),
        trust: arguments.trust.trust.as_deref().map(PublicKey::read).transpose()?,
        on_call: Some(on_call),
        ..Settings::default()
    };
    let store = Registry::from_env()?;
    // It keeps the cache from removing the image while it is used.
    let selected;
    let bundle = match (&arguments.runtime, &arguments.image.directory, &storage) {
        (None, None, Some(storage)) => storage.bundle()?,
        (named, ..) => named.clone(),
    };
    let image = match &bundle {
        Some(url) => {
            let storage = storage.as_deref().unwrap_or(&store);
            super::fetch::fetch(*shell, global, &store, storage, url, &arguments.trust)?.runtime.image
        }
        None => {
            selected = image::select(*shell, global, &arguments.image, Some(&store))?;
            selected.directory.clone()
        }
    };
    let runtime = call::limited(arguments.limits).image(&image);
    let runtime = runtime.output_limit(arguments.limits.output.unwrap_or(OUTPUT));
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
