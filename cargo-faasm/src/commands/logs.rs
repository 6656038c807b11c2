//! `cargo faasm logs`

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use py_func::server::{CallState, Details, Summary};
use reqwest::Method;

use crate::cli::{Format, Logs};
use crate::remote::Remote;
use crate::shell::{self, Shell};
use crate::units::{show_age, show_duration};

/// How often a server is asked for more.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn run(shell: &Shell, arguments: &Logs) -> anyhow::Result<ExitCode> {
    let server = Remote::required(&arguments.remote)?;
    let mut shown = HashSet::new();
    loop {
        let ended = calls(&server, arguments)?;
        // Numbers that the server has forgotten do not come again.
        shown.retain(|id| ended.iter().any(|call| call.id == *id));
        // The newest come first, and are read last.
        for call in ended.iter().rev().filter(|call| call.state != CallState::Running) {
            if shown.insert(call.id) {
                show(&server, arguments.message.format, call)?;
            }
        }
        if !arguments.follow {
            if shown.is_empty() {
                shell.status("Found", "no calls");
            }
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(PAUSE);
    }
}

fn calls(server: &Remote, arguments: &Logs) -> anyhow::Result<Vec<Summary>> {
    let limit = arguments.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(arguments.user.as_ref().map(|user| ("user", user.as_str())));
    query.extend(arguments.function.as_ref().map(|function| ("function", function.as_str())));
    server.json(server.request_with(Method::GET, &["calls"], &query)?)
}

fn show(server: &Remote, format: Format, call: &Summary) -> anyhow::Result<()> {
    let id = call.id.to_string();
    if format == Format::Json {
        let details: Details = server.json(server.request(Method::GET, &["calls", &id])?)?;
        return shell::json(&details);
    }
    let took = show_duration(Duration::from_secs_f64(call.seconds.unwrap_or_default()));
    let result = match (call.status, &call.error) {
        (Some(status), _) => format!("status {status}"),
        (None, Some(error)) => error.clone(),
        (None, None) => call.state.name().to_owned(),
    };
    let started = UNIX_EPOCH + Duration::from_secs_f64(call.started);
    let age = show_age(started.elapsed().unwrap_or_default());
    let line = format!("{}/{} {result} in {took}, {age}, call {id}\n", call.user, call.function);
    shell::data(line.as_bytes())?;
    let logs = server.send(server.request(Method::GET, &["calls", &id, "logs"])?)?.bytes()?;
    if logs.is_empty() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&logs);
    shell::data(text.lines().map(|line| format!("    {line}\n")).collect::<String>().as_bytes())
}
