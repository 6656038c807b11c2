//! `cargo faasm upgrade`

use std::process::ExitCode;
use std::time::Instant;

use py_func::server::RuntimeDocument;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::cli::{Format, Upgrade};
use crate::remote::Remote;
use crate::shell::{self, Shell};
use crate::units::show_duration;

pub(super) fn run(shell: &Shell, arguments: &Upgrade) -> anyhow::Result<ExitCode> {
    let server = Remote::required(&arguments.remote)?;
    let started = Instant::now();
    let wanted = match &arguments.bundle {
        Some(bundle) => json!({ "bundle": bundle, "force": arguments.force }),
        None => json!({ "rollback": true, "force": arguments.force }),
    };
    let request = server.request(Method::PUT, &["f"])?;
    let request = request.header(CONTENT_TYPE, "application/json").body(wanted.to_string());
    let running: RuntimeDocument = server.json(request)?;
    let version = running.version.as_deref().unwrap_or("without a version");
    let time = show_duration(started.elapsed());
    shell.status(
        "Upgraded",
        format_args!("{} to py_func {version}, Python {}, in {time}", server.url(), running.python),
    );
    if arguments.message.format == Format::Json {
        let mut document = serde_json::to_value(&running)?;
        if let Value::Object(members) = &mut document {
            members.insert("reason".to_owned(), "server-upgraded".into());
        }
        shell::json(&document)?;
    }
    Ok(ExitCode::SUCCESS)
}
