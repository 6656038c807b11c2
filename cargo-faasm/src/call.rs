//! Calls: what they are given, and how what comes out of them is shown.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use py_func::state::{self, OnDemand, State};
use py_func::{CallFailure, Output, Registry, Runtime, RuntimeBuilder, Usage};
use serde_json::{Value, json};

use crate::cli::{Format, Input, Limits};
use crate::error::{self, input};
use crate::shell::{self, Shell};
use crate::units::{show_duration, show_size};

/// How much state a user may have in the store, and how much a command may hold in memory.
const STATE: state::Limits = state::Limits { user_quota: 1 << 30, local: 2 << 30 };

/// How many bytes a user's shared files may have in the store.
const SHARED_QUOTA: u64 = 1 << 30;

/// A runtime on an image with the limits of the command line. In a store, functions find state, shared files and other functions.
pub(crate) fn runtime(image: &Path, limits: Limits, store: Option<&Registry>) -> anyhow::Result<Runtime> {
    let mut builder = limited(Runtime::builder(), limits).image(image);
    if let Some(store) = store.cloned() {
        builder = builder.state(state(&store)).images(store.root().join("images"));
        builder = builder.shared_files(store.root().join("files"), SHARED_QUOTA);
        // That a function cannot be read is for the one who chains to it the same as that there is none.
        builder = builder.lookup(move |user, name| store.source(user, name).ok());
    }
    Ok(builder.build()?)
}

/// The state in a store.
pub(crate) fn state(store: &Registry) -> State {
    State::new(Arc::new(OnDemand::new(store.root().join("state"))), STATE)
}

/// A runtime with the limits of the command line.
pub(crate) fn limited(mut builder: RuntimeBuilder, limits: Limits) -> RuntimeBuilder {
    if let Some(limit) = limits.timeout {
        builder = builder.timeout(limit);
    }
    if let Some(limit) = limits.memory {
        builder = builder.memory_limit(limit);
    }
    if let Some(limit) = limits.output {
        builder = builder.output_limit(limit);
    }
    builder
}

/// The input that the command line names.
pub(crate) fn read_input(given: &Input) -> anyhow::Result<Vec<u8>> {
    match (&given.data, &given.file) {
        (Some(text), _) => Ok(text.clone().into_bytes()),
        (None, Some(path)) => read_file(path, "the input"),
        (None, None) if io::stdin().is_terminal() => Ok(Vec::new()),
        (None, None) => read_stdin(),
    }
}

/// A function: the file's content, or an archive of a folder.
pub(crate) fn read_function(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.is_dir() {
        return py_func::pack(path)
            .with_context(|| input(format!("failed to read the function `{}`", path.display())));
    }
    read_file(path, "the function")
}

/// A file, or standard input if it is called `-`.
pub(crate) fn read_file(path: &Path, what: &str) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_stdin();
    }
    let context = || input(format!("failed to read {what} `{}`", path.display()));
    fs::read(path).with_context(context)
}

fn read_stdin() -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).context("failed to read standard input")?;
    Ok(bytes)
}

/// Shows how a call ended, and makes its status the exit code. As JSON, a call that failed is a result as well.
pub(crate) fn finish(
    shell: &Shell,
    format: Format,
    result: Result<Output, CallFailure>,
) -> anyhow::Result<ExitCode> {
    match (format, result) {
        (Format::Human, Ok(output)) => {
            shell::raw_stderr(&output.stderr);
            shell::data(&for_people(&output))?;
            show_usage(shell, output.usage);
            Ok(ExitCode::from(error::status_code(output.status)))
        }
        (Format::Human, Err(failure)) => {
            shell::data(&failure.stdout)?;
            shell::raw_stderr(&failure.stderr);
            show_usage(shell, failure.usage);
            Err(failure.into())
        }
        (Format::Json, Ok(Output { status, output, stdout, stderr, usage })) => {
            shell::json(&json!({
                "reason": "call-returned",
                "status": status,
                "output": bytes(&output),
                "stdout": bytes(&stdout),
                "stderr": bytes(&stderr),
                "usage": usage_json(usage),
            }))?;
            Ok(ExitCode::from(error::status_code(status)))
        }
        (Format::Json, Err(failure)) => {
            let CallFailure { error, stdout, stderr, usage } = &failure;
            shell::json(&json!({
                "reason": "call-failed",
                "error": { "kind": error.kind(), "message": error.to_string() },
                "stdout": bytes(stdout),
                "stderr": bytes(stderr),
                "usage": usage_json(*usage),
            }))?;
            Ok(ExitCode::from(error::call_exit(error) as u8))
        }
    }
}

/// What was printed and then what was returned; on a terminal each on lines of its own.
fn for_people(output: &Output) -> Vec<u8> {
    let mut text = output.stdout.clone();
    let end_line = |text: &mut Vec<u8>| {
        if shell::stdout_is_terminal() && !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
    };
    if !output.output.is_empty() {
        end_line(&mut text);
        text.extend_from_slice(&output.output);
    }
    end_line(&mut text);
    text
}

fn show_usage(shell: &Shell, usage: Usage) {
    let (time, cpu) = (show_duration(usage.wall_time), show_duration(usage.cpu_time));
    let memory = show_size(usage.memory as u64);
    let own = usage.own_memory.map(|bytes| format!(", {} of it its own", show_size(bytes as u64)));
    let own = own.unwrap_or_default();
    shell.detail("Called", format_args!("in {time}, {cpu} of CPU time, with {memory} of memory{own}"));
    let mut asked = Vec::new();
    if usage.state_read + usage.state_written > 0 {
        let (read, written) = (show_size(usage.state_read), show_size(usage.state_written));
        asked.push(format!("read {read} and wrote {written} of state"));
    }
    match usage.chained_calls {
        0 => (),
        1 => asked.push("made a call".to_owned()),
        count => asked.push(format!("made {count} calls")),
    }
    if !asked.is_empty() {
        shell.detail("", format_args!("{}", asked.join(", ")));
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "wall_time_seconds": usage.wall_time.as_secs_f64(),
        "cpu_time_seconds": usage.cpu_time.as_secs_f64(),
        "memory_bytes": usage.memory,
        "own_memory_bytes": usage.own_memory,
        "state_read_bytes": usage.state_read,
        "state_written_bytes": usage.state_written,
        "output_bytes": usage.output,
        "chained_calls": usage.chained_calls,
    })
}

/// Text as a string; bytes that are none as an object with their Base64 form.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": BASE64_STANDARD.encode(bytes) }),
    }
}
