//! `cargo faasm fetch`

use std::process::ExitCode;
use std::time::Instant;

use faasm_bundle::{Location, PublicKey};
use py_func::{Fetch, Fetched, Registry, Storage};
use serde_json::json;

use crate::cli::{self, Format, Global, Trust};
use crate::error::input;
use crate::progress::Transfer;
use crate::shell::{self, Shell};
use crate::units::show_duration;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &cli::Fetch) -> anyhow::Result<ExitCode> {
    let store = Registry::from_env()?;
    let fetched = fetch(*shell, global, &store, &store, &arguments.url, &arguments.trust)?;
    if arguments.message.format == Format::Json {
        let Fetched { runtime, manifest, was_there, compiled, added, kept } = &fetched;
        shell::json(&json!({
            "reason": "bundle-fetched", "image": runtime.image, "python": runtime.python, "version": manifest.version,
            "target": manifest.target, "identity": manifest.identity, "was_there": was_there, "compiled": compiled,
            "functions_added": added, "functions_kept": kept,
        }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Fetches a bundle into a store, and its functions into a storage, and shows how.
pub(super) fn fetch(
    shell: Shell,
    global: &Global,
    store: &Registry,
    storage: &dyn Storage,
    url: &str,
    trust: &Trust,
) -> anyhow::Result<Fetched> {
    let location = Location::parse(url)?;
    if global.offline && !location.is_local() {
        return Err(
            input(format!("{location} is not on this machine, and --offline forbids to ask for it")).into()
        );
    }
    if trust.trust_local && !location.is_local() {
        return Err(input(format!("{location} is no file of this machine, and --trust-local is for those"))
            .hint("name the key by which it is signed with --trust")
            .into());
    }
    let key = trust.trust.as_deref().map(PublicKey::read).transpose()?;
    let started = Instant::now();
    let transfer = Transfer::new(shell, "Fetching", location.to_string());
    let fetch = Fetch { location, key, trust_local: trust.trust_local };
    let progress = |text: &str| transfer.above(|| shell.detail("", text));
    let fetched = store.fetch(&fetch, storage, &progress, &|done, total| transfer.show(done, total))?;
    drop(transfer);

    for (user, name) in &fetched.kept {
        shell.warn(format_args!(
            "{user}/{name} was left as it is: the store has another version than the bundle"
        ));
    }
    let what =
        format!("{} {}, Python {}", fetched.manifest.name, fetched.manifest.version, fetched.runtime.python);
    let how = match (fetched.was_there, fetched.compiled) {
        (true, _) => "it was there",
        (_, true) => "compiled here",
        _ => "with the machine code of the bundle",
    };
    let time = show_duration(started.elapsed());
    shell.status("Fetched", format_args!("{what}, and {} functions in {time}: {how}", fetched.added.len()));
    if !fetched.manifest.code.is_empty() && fetched.compiled && fetch.key.is_none() && !fetch.trust_local {
        shell.detail("", "its machine code was not used, because it is not trusted; see --trust");
    }
    Ok(fetched)
}
