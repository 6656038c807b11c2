//! `cargo faasm list`

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use py_func::server::{FunctionDocument, RuntimeDocument};
use py_func::{Registry, StoredFunction, StoredRuntime};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{Format, List};
use crate::remote::Remote;
use crate::shell::{self, Shell};
use crate::units::{show_age, show_size};

pub(super) fn run(shell: &Shell, arguments: &List) -> anyhow::Result<ExitCode> {
    let (functions, runtime, place) = match Remote::named(&arguments.remote)? {
        Some(server) => {
            let functions: Vec<FunctionDocument> = server.json(server.request(Method::GET, &["p"])?)?;
            let runtime: RuntimeDocument = server.json(server.request(Method::GET, &["f"])?)?;
            let mut functions: Vec<StoredFunction> = functions.into_iter().map(Into::into).collect();
            if arguments.versions {
                let of = |it: &StoredFunction| versions(&server, &it.user, &it.name);
                functions = functions.iter().map(of).collect::<anyhow::Result<Vec<_>>>()?.concat();
            }
            (functions, runtime.into_stored(), server.url().to_string())
        }
        None => {
            let store = Registry::from_env()?;
            let mut functions = store.functions()?;
            if arguments.versions {
                let of = |it: &StoredFunction| store.versions(&it.user, &it.name);
                functions = functions.iter().map(of).collect::<Result<Vec<_>, _>>()?.concat();
            }
            (functions, store.runtime()?, store.root().display().to_string())
        }
    };
    match arguments.message.format {
        Format::Json => {
            let reason = if arguments.versions { "function-version" } else { "function" };
            for function in &functions {
                shell::json(&function_json(reason, function))?;
            }
            if let Some(runtime) = &runtime {
                shell::json(&runtime_json("runtime", runtime))?;
            }
        }
        Format::Human => {
            if functions.is_empty() {
                shell.status("Found", format_args!("no functions in {place}"));
            } else {
                shell::data(function_table(&functions, arguments.versions).as_bytes())?;
            }
            match &runtime {
                Some(runtime) => {
                    let (hash, age) = (&runtime.sha256[..16], show_age(age(runtime.uploaded)));
                    shell::data(
                        format!("runtime: Python {} ({hash}), uploaded {age}\n", runtime.python).as_bytes(),
                    )?;
                }
                None => shell.status("Found", "no runtime; functions run on the default image"),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a server knows of the versions of a function.
pub(super) fn versions(server: &Remote, user: &str, function: &str) -> anyhow::Result<Vec<StoredFunction>> {
    let request = server.request(Method::GET, &["p", user, function, "versions"])?;
    Ok(server.json::<Vec<FunctionDocument>>(request)?.into_iter().map(Into::into).collect())
}

fn function_table(functions: &[StoredFunction], versions: bool) -> String {
    let mut rows = vec![["USER", "FUNCTION", "KIND", "SIZE", "UPLOADED", "VERSION"].map(str::to_owned)];
    rows.extend(functions.iter().map(|it| {
        let kind = if it.is_package { "package" } else { "module" };
        let (size, age) = (show_size(it.bytes), show_age(age(it.uploaded)));
        [it.user.clone(), it.name.clone(), kind.to_owned(), size, age, it.version().to_owned()]
    }));
    if versions {
        return shell::table(&rows);
    }
    let rows: Vec<_> =
        rows.into_iter().map(|[user, name, kind, size, age, _]| [user, name, kind, size, age]).collect();
    shell::table(&rows)
}

pub(super) fn function_json(reason: &str, function: &StoredFunction) -> Value {
    let StoredFunction { user, name, is_package, bytes, sha256, uploaded } = function;
    json!({
        "reason": reason, "user": user, "function": name, "package": is_package, "bytes": bytes, "sha256": sha256,
        "version": function.version(), "uploaded": unix(*uploaded),
    })
}

pub(super) fn runtime_json(reason: &str, runtime: &StoredRuntime) -> Value {
    let StoredRuntime { image, python, sha256, uploaded, .. } = runtime;
    json!({ "reason": reason, "directory": image, "python": python, "sha256": sha256, "uploaded": unix(*uploaded) })
}

/// Seconds since 1970.
fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

/// A time in the future counts as now.
fn age(time: SystemTime) -> std::time::Duration {
    time.elapsed().unwrap_or_default()
}
