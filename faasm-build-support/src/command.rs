//! Running build commands: a known environment, a log that is kept, an error that names both.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::progress::Context;

/// Variables that a build may see. Anything else, such as `CFLAGS` or `PYTHONPATH`, would make results depend
/// on the shell that a build was started from.
const PASSED_ON: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

const TAIL_LINES: usize = 20;

/// An empty log for `step`, `<cache>/logs/<step>.log`, to which [`run`] appends. What an earlier build left
/// is dropped.
///
/// # Errors
///
/// When the file cannot be created.
pub fn new_log(cx: &Context, step: &str) -> Result<PathBuf> {
    let directory = cx.cache.root().join("logs");
    std::fs::create_dir_all(&directory).map_err(Error::io("create the directory", &directory))?;
    let log = directory.join(format!("{}.log", crate::cache::file_name(step)));
    File::create(&log).map_err(Error::io("create", &log))?;
    Ok(log)
}

/// Runs `command` as part of `step`, with its output appended to `log`, and waits for it.
///
/// The command sees only `PATH`, `HOME`, `TMPDIR`, `LANG=C.UTF-8` and what was set on it explicitly.
///
/// # Errors
///
/// [`Error::Spawn`] when it cannot be started, [`Error::Step`] when it does not succeed.
pub fn run(step: &str, log: &Path, command: &mut Command) -> Result<()> {
    let explicit: Vec<(OsString, OsString)> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_os_string(), value?.to_os_string())))
        .collect();
    command.env_clear().env("LANG", "C.UTF-8");
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, env::var_os(name)?))));
    command.envs(explicit);

    let shown = display(command);
    let mut output = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(log)
        .map_err(Error::io("open the log", log))?;
    let directory =
        command.get_current_dir().map(|it| format!("cd {} && ", it.display())).unwrap_or_default();
    writeln!(output, "$ {directory}{shown}").map_err(Error::io("write to the log", log))?;
    let start = output.stream_position().map_err(Error::io("write to the log", log))?;
    let stream = || output.try_clone().map_err(Error::io("open the log", log));
    let status = command
        .stdin(Stdio::null())
        .stdout(stream()?)
        .stderr(stream()?)
        .status()
        .map_err(|source| Error::Spawn { step: step.to_owned(), command: shown.clone(), source })?;
    if status.success() {
        return Ok(());
    }
    let status = match status.code() {
        Some(code) => format!("exited with {code}"),
        None => format!("was stopped ({status})"),
    };
    let tail = tail(&mut output, start).unwrap_or_default();
    Err(Error::Step { step: step.to_owned(), command: shown, status, log: log.to_path_buf(), tail })
}

/// Like [`run`], and answers what the command printed, on both streams.
///
/// # Errors
///
/// Those of [`run`].
pub fn output(step: &str, log: &Path, command: &mut Command) -> Result<String> {
    let before = std::fs::metadata(log).map_or(0, |it| it.len());
    run(step, log, command)?;
    let text = std::fs::read(log).map_err(Error::io("read the log", log))?;
    let text = String::from_utf8_lossy(text.get(before as usize..).unwrap_or_default()).into_owned();
    // The first line is the command itself.
    Ok(text.split_once('\n').map(|(_, output)| output.to_owned()).unwrap_or_default())
}

/// Makes a `make` command run in parallel: within Cargo's jobserver if this is a build script, else with
/// `cx.jobs` jobs.
///
/// Cargo names its jobserver in `CARGO_MAKEFLAGS` and leaves the descriptors open for children, and GNU make
/// takes the same text in `MAKEFLAGS`
/// (<https://doc.rust-lang.org/cargo/reference/environment-variables.html#environment-variables-cargo-sets-for-build-scripts>).
pub fn configure_make(cx: &Context, make: &mut Command) {
    match env::var_os("CARGO_MAKEFLAGS") {
        Some(flags) => make.env("MAKEFLAGS", flags),
        None => make.arg(format!("-j{}", cx.jobs)),
    };
}

/// The command as a person would type it, cut to a length that fits an error message.
fn display(command: &Command) -> String {
    const LONGEST: usize = 400;
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(text, " {}", quote(&argument.to_string_lossy()));
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
            break;
        }
    }
    text
}

/// An argument as a shell takes it.
pub(crate) fn quote(argument: &str) -> String {
    let plain = |c: char| !(c.is_whitespace() || "'\"$&;|<>()*`\\#".contains(c));
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// The last lines of what a command printed, which begins at `start`. Reads a bounded part of the file.
fn tail(file: &mut File, start: u64) -> std::io::Result<String> {
    const MOST: u64 = 8 << 10;
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(MOST))))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, PathBuf, Result<()>) {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let result = run("a step", &log, Command::new("sh").args(["-c", script]).env("GIVEN", "yes"));
        (directory, log, result)
    }

    #[test]
    fn the_environment_is_known() {
        let (_directory, log, result) = shell("env | cut -d= -f1 | grep -v -e '^_$' -e PWD -e SHLVL | sort");
        result.unwrap();
        let log = std::fs::read_to_string(log).unwrap();
        let names: Vec<&str> = log.lines().skip(1).collect();
        assert!(names.contains(&"GIVEN") && names.contains(&"PATH"), "{names:?}");
        for name in names {
            assert!(PASSED_ON.contains(&name) || ["GIVEN", "LANG"].contains(&name), "{name} was passed on");
        }
    }

    #[test]
    fn failure_names_step_command_log_and_ending() {
        let (_directory, log, result) =
            shell("for i in $(seq 100); do echo line $i; done; echo oops >&2; exit 3");
        let Err(Error::Step { step, command, status, log: named, tail }) = result else {
            panic!("{result:?}")
        };
        assert_eq!((step.as_str(), status.as_str(), named), ("a step", "exited with 3", log));
        assert!(command.starts_with("sh -c 'for i in "), "{command}");
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("line 100\noops"), "{tail}");
    }

    #[test]
    fn a_missing_program_is_told_from_a_failing_one() {
        let directory = tempfile::tempdir().unwrap();
        let error =
            run("a step", &directory.path().join("log"), &mut Command::new("/no/such/program")).unwrap_err();
        assert!(matches!(error, Error::Spawn { .. }), "{error:?}");
        assert!(error.hint().is_some());
    }
}
