//! Exit codes, and how errors are shown.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | success |
//! | 1 | the function failed: an exception, a fault, a return value that is no result |
//! | 2 | the command line is wrong |
//! | 3 | bad input: no such file, function or entry point, a syntax error, an invalid name or setting |
//! | 4 | a limit was reached: time, memory, output or stack |
//! | 5 | the environment: network, disk, a step of a build, an image that cannot be used |
//! | 101 | a bug in this program |
//!
//! `run`, `invoke` and `python` end with the status of the function or interpreter when that returned one.

use std::process::ExitCode;

use faasm_build_support::Error as BuildError;
use faasm_bundle::Error as BundleError;
use py_func::server::ServerError;
use py_func::state::Error as StateError;
use py_func::{CallError, CallFailure, Error as RuntimeError, RegistryError};

use crate::shell::{self, Shell};

/// The end of the help texts.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  success
    1  the function failed: an exception, a fault, a return value that is no result
    2  the command line is wrong
    3  bad input: no such file, function or entry point, a syntax error, an invalid name or setting
    4  a limit was reached: time, memory, output or stack
    5  the environment: network, disk, a step of a build, an image that cannot be used
  101  a bug in cargo-faasm
`run`, `invoke` and `python` end with the status of the function or interpreter when that returned one.";

/// The exit codes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Function = 1,
    Usage = 2,
    Input = 3,
    Limit = 4,
    Environment = 5,
}

/// An error that this program finds itself, in whole words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// A sentence without a full stop.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An error about what the user gave.
pub(crate) fn input(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Input, message)
}

/// The status of a function or interpreter as an exit code. Of a status that does not fit, the lowest byte is kept, as systems do,
/// except that failure does not become success.
pub(crate) fn status_code(status: i32) -> u8 {
    let low = status.to_le_bytes()[0];
    if status != 0 && low == 0 { 1 } else { low }
}

/// The exit code of an error.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(classify(error).0 as u8)
}

/// Shows an error with its causes and what to do about it. Of a Python exception there is only the traceback, as Python does it.
pub(crate) fn report(shell: &Shell, error: &anyhow::Error) {
    let text = failed_call(error).and_then(|failure| match &failure.error {
        CallError::Exception { traceback: text } | CallError::Syntax { text } => Some(text),
        _ => None,
    });
    if let Some(text) = text {
        shell::raw_stderr(format!("{}\n", text.trim_end()).as_bytes());
        if error.is::<CallFailure>() {
            return;
        }
    }

    // What a traceback has shown needs no further causes.
    let causes = error.chain().take(if text.is_some() { 1 } else { usize::MAX });
    let mut text = String::new();
    for (index, cause) in causes.enumerate() {
        if index > 0 {
            text += "\n  caused by: ";
        }
        text += &sentence(cause);
    }
    shell.error(text);
    if let Some(hint) = classify(error).1 {
        shell.hint(hint);
    }
}

/// The call, or the import of a function's module, that an error is about.
pub(crate) fn failed_call(error: &anyhow::Error) -> Option<&CallFailure> {
    error.chain().find_map(call_failure)
}

/// An import that failed, as a call that failed is one; any other error stays what it is.
pub(crate) fn into_failed_call(error: anyhow::Error) -> anyhow::Result<CallFailure> {
    failed_call(&error).cloned().ok_or(error)
}

/// Asks whoever sees a panic to report it. The exit code 101 is Rust's own.
pub(crate) fn ask_for_reports_of_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        default(panic);
        shell::line(
            "\nThis is a bug in cargo-faasm. Please report it with the command line and the message above; \
             with RUST_BACKTRACE=1 that says more.",
        );
    }));
}

/// An error without its causes. Messages of the libraries continue "failed to …".
pub(crate) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let is_fragment = error.is::<BuildError>()
        || error.is::<faasm_recipe::Error>()
        || error.is::<faasm_recipe::BadRequirement>()
        || error.is::<faasm_image::Error>()
        || error.is::<BundleError>()
        || error.is::<RuntimeError>()
        || error.is::<RegistryError>()
        || error.is::<ServerError>()
        || error.is::<StateError>();
    if is_fragment { format!("failed to {error}") } else { error.to_string() }
}

/// What kind of error it is, by the first in the chain that is known, and the first hint.
fn classify(error: &anyhow::Error) -> (Exit, Option<String>) {
    let mut exit = None;
    let mut hint = None;
    // A context is not found by looking along the chain, only by asking for it.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        exit = Some(failure.exit);
        hint.clone_from(&failure.hint);
    }
    for cause in error.chain() {
        let (found, advice) = if let Some(failure) = cause.downcast_ref::<Failure>() {
            (failure.exit, failure.hint.clone())
        } else if let Some(failure) = call_failure(cause) {
            (call_exit(&failure.error), failure.error.hint())
        } else if let Some(error) = runtime_error(cause) {
            (runtime_exit(error), error.hint())
        } else if let Some(error) = bundle_error(cause) {
            (bundle_exit(error), error.hint())
        } else if let Some(error) = cause.downcast_ref::<RegistryError>() {
            (registry_exit(error), error.hint())
        } else if let Some(error) = cause.downcast_ref::<ServerError>() {
            (server_exit(error), error.hint())
        } else if let Some(error) = cause.downcast_ref::<StateError>() {
            (state_exit(error), error.hint())
        } else if let Some(error) = cause.downcast_ref::<BuildError>() {
            (build_exit(error), error.hint())
        } else if let Some(error) = cause.downcast_ref::<faasm_recipe::Error>() {
            (Exit::Input, error.hint())
        } else if cause.is::<faasm_recipe::BadRequirement>() {
            (Exit::Input, None)
        } else if let Some(error) = cause.downcast_ref::<faasm_image::Error>() {
            (Exit::Environment, error.hint().map(str::to_owned))
        } else {
            continue;
        };
        exit = exit.or(Some(found));
        hint = hint.or(advice);
    }
    (exit.unwrap_or(Exit::Environment), hint)
}

fn call_failure<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a CallFailure> {
    match runtime_error(error) {
        Some(RuntimeError::Load { source, .. }) => Some(source),
        _ => error.downcast_ref(),
    }
}

/// The runtime's error, which does not appear in the chain of the store's.
fn runtime_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a RuntimeError> {
    match error.downcast_ref() {
        Some(RegistryError::Runtime(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// The same of bundles.
fn bundle_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a BundleError> {
    match error.downcast_ref() {
        Some(RegistryError::Bundle(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

fn bundle_exit(error: &BundleError) -> Exit {
    match error {
        BundleError::Content { .. }
        | BundleError::Key { .. }
        | BundleError::Location { .. }
        | BundleError::Published { .. } => Exit::Input,
        BundleError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::Input,
        _ => Exit::Environment,
    }
}

pub(crate) fn call_exit(error: &CallError) -> Exit {
    match error {
        CallError::Syntax { .. } | CallError::Entry { .. } => Exit::Input,
        CallError::TimeLimit { .. }
        | CallError::MemoryLimit { .. }
        | CallError::OutputLimit { .. }
        | CallError::NoRoom
        | CallError::StackLimit
        | CallError::Busy { .. } => Exit::Limit,
        _ => Exit::Function,
    }
}

fn runtime_exit(error: &RuntimeError) -> Exit {
    match error {
        RuntimeError::Name { .. } | RuntimeError::NoSource { .. } | RuntimeError::Package { .. } => {
            Exit::Input
        }
        _ => Exit::Environment,
    }
}

fn registry_exit(error: &RegistryError) -> Exit {
    match error {
        RegistryError::NoFunction { .. }
        | RegistryError::NoVersion { .. }
        | RegistryError::Included { .. }
        | RegistryError::NotIncluded { .. }
        | RegistryError::Reserved => Exit::Input,
        _ => Exit::Environment,
    }
}

fn server_exit(error: &ServerError) -> Exit {
    match error {
        ServerError::Exposed { .. } | ServerError::Tls { .. } | ServerError::Tokens { .. } => Exit::Input,
        _ => Exit::Environment,
    }
}

fn state_exit(error: &StateError) -> Exit {
    match error {
        StateError::User { .. } | StateError::Key { .. } | StateError::NoValue { .. } => Exit::Input,
        StateError::Quota { .. } | StateError::LocalFull { .. } | StateError::TooLarge { .. } => Exit::Limit,
        _ => Exit::Environment,
    }
}

fn build_exit(error: &BuildError) -> Exit {
    match error {
        BuildError::Manifest { .. }
        | BuildError::Variable { .. }
        | BuildError::Recipe(_)
        | BuildError::Requirement(_)
        | BuildError::Resolve { .. }
        | BuildError::Locked { .. } => Exit::Input,
        _ => Exit::Environment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_never_becomes_success() {
        for (status, code) in [(0, 0), (3, 3), (255, 255), (256, 1), (-1, 255), (259, 3), (i32::MIN, 1)] {
            assert_eq!(status_code(status), code, "{status}");
        }
    }

    #[test]
    fn errors_are_known_through_contexts_and_wrappers() {
        let name = || RuntimeError::Name { name: "..".to_owned() };
        let entry = CallError::Entry { text: "no".to_owned() };
        let call = CallFailure {
            error: entry,
            stdout: Vec::new(),
            stderr: Vec::new(),
            usage: py_func::Usage::default(),
        };
        let load =
            RuntimeError::Load { user: "u".to_owned(), function: "f".to_owned(), source: call.clone() };
        let disk = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let cases: [(anyhow::Error, Exit, bool); 6] = [
            (anyhow::Error::from(name()).context("x"), Exit::Input, false),
            (RegistryError::from(name()).into(), Exit::Input, false),
            (call.into(), Exit::Input, true),
            (anyhow::Error::from(RegistryError::from(load)).context("x"), Exit::Input, true),
            (anyhow::Error::from(disk).context(input("x").hint("y")), Exit::Input, true),
            (anyhow::anyhow!("x"), Exit::Environment, false),
        ];
        for (error, exit, has_hint) in cases {
            let (found, hint) = classify(&error);
            assert_eq!((found, hint.is_some()), (exit, has_hint), "{error:?}");
        }
    }
}
