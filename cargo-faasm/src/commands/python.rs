//! `cargo faasm python`

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use faasm_build_support::{cpython, toolchain};

use crate::call;
use crate::cli::{Format, Global, Limits, Python};
use crate::error::{self, input};
use crate::image;
use crate::progress::Steps;
use crate::shell::Shell;

/// Where the guest sees CPython's own tests.
const TESTS: &str = "/usr/lib/python-tests";

/// The limits of a runtime are those of calls; the interpreter as a command has none.
const NO_LIMITS: Limits = Limits { timeout: None, memory: None, output: None };

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Python) -> anyhow::Result<ExitCode> {
    let directories =
        arguments.directories.iter().map(|it| Directory::parse(it)).collect::<anyhow::Result<Vec<_>>>()?;
    let variables = arguments.variables.iter().map(|it| variable(it)).collect::<anyhow::Result<Vec<_>>>()?;
    let current = env::current_dir().context("failed to find the current directory")?;

    let image = image::select(*shell, global, &arguments.image, None)?;
    let runtime = call::runtime(&image.directory, NO_LIMITS, None)?;
    // Of two variables of one name the first counts, so these go before those set below.
    let mut interpreter = runtime.interpreter().arguments(arguments.arguments.iter().cloned());
    for (name, value) in variables {
        interpreter = interpreter.variable(name, value);
    }

    // WASI has no current directory. The guest sees this one under its own name, so that names in messages mean the same on both
    // sides, and goes there when it starts.
    let name = current.to_string_lossy();
    if hides_the_library(&current) {
        shell.warn(format_args!(
            "{name} is not visible in the sandbox, which has a directory of that name itself"
        ));
    } else {
        interpreter = interpreter.read_only(&current, &*name).variable("FAASM_CWD", &*name);
    }

    let temporary = tempfile::tempdir().context("failed to create a temporary directory")?;
    let guest = guest_temporary(&current);
    interpreter = interpreter.read_write(temporary.path(), guest).variable("TMPDIR", guest);

    // The newer prompt needs a control of the terminal that WASI does not have, and says so at every start.
    interpreter = interpreter.variable("PYTHON_BASIC_REPL", "1");

    if wants_tests(&arguments.arguments) {
        // An image does not have CPython's own tests, which are as large as the rest of the library together. They come from the
        // build cache, where every build leaves them.
        let cx = image::context(global, &Steps::new(*shell, Format::Human))?;
        let wasm = cpython::wasm(&cx, &toolchain::wasi(&cx)?)?;
        let stdlib = cpython::stdlib(&cx, &cpython::native(&cx)?, &wasm)?;
        interpreter = interpreter.read_only(stdlib.tests, TESTS).variable("PYTHONPATH", TESTS);
    }
    // Of two directories of one name the last counts, so these may take the place of those above.
    for Directory { host, guest } in directories {
        interpreter = interpreter.read_write(host, guest);
    }
    let status = interpreter.run()?.map_err(|error| {
        let hint = error.hint();
        let failure = error::Failure::new(
            error::call_exit(&error),
            format!("the interpreter did not end by itself: {error}"),
        );
        if let Some(hint) = hint { failure.hint(hint) } else { failure }
    })?;
    Ok(ExitCode::from(error::status_code(status)))
}

/// A directory of the machine that the guest may change.
#[derive(Debug, PartialEq)]
struct Directory {
    host: PathBuf,
    guest: String,
}

impl Directory {
    /// Reads `PATH` or `PATH:GUEST`.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (path, guest) = match text.split_once(':') {
            Some((path, guest)) => (path, Some(guest)),
            None => (text, None),
        };
        let host = fs::canonicalize(path)
            .with_context(|| input(format!("failed to find the directory {path:?}")))?;
        if !host.is_dir() {
            return Err(input(format!("{path:?} is not a directory")).into());
        }
        let guest = guest.map_or_else(|| host.to_string_lossy().into_owned(), str::to_owned);
        if !guest.starts_with('/') {
            return Err(input(format!("{guest:?} is not an absolute path"))
                .hint("name the place in the sandbox as in --dir PATH:/data")
                .into());
        }
        Ok(Self { host, guest })
    }
}

/// Reads `NAME=VALUE`, or `NAME` with the value it has in this process.
fn variable(text: &str) -> anyhow::Result<(String, String)> {
    if let Some((name, value)) = text.split_once('=') {
        return Ok((name.to_owned(), value.to_owned()));
    }
    let value = env::var(text).with_context(|| {
        input(format!("the environment variable {text} cannot be passed on"))
            .hint(format!("give it a value: --env {text}=VALUE"))
    })?;
    Ok((text.to_owned(), value))
}

/// Whether a directory of the machine, under its own name, would be in the place of Python's library.
fn hides_the_library(directory: &Path) -> bool {
    directory == Path::new("/") || directory.starts_with("/lib")
}

/// Where the private temporary directory is. It must not be in the place of the current one.
fn guest_temporary(current: &Path) -> &'static str {
    if current == Path::new("/tmp") { "/var/tmp" } else { "/tmp" }
}

/// Whether the interpreter is to run CPython's own tests, `-m test` or `-m test.MODULE`.
fn wants_tests(arguments: &[String]) -> bool {
    let module = match arguments {
        [option, module, ..] if option == "-m" => module.as_str(),
        [option, ..] => option.strip_prefix("-m").unwrap_or_default(),
        [] => "",
    };
    module == "test" || module.starts_with("test.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_a_place_in_the_guest() {
        let here = fs::canonicalize(".").unwrap();
        let directory = Directory::parse(".").unwrap();
        assert_eq!(directory, Directory { host: here.clone(), guest: here.to_str().unwrap().to_owned() });
        assert_eq!(Directory::parse(".:/data").unwrap(), Directory { host: here, guest: "/data".to_owned() });
        for wrong in ["no such directory", ".:data", ".:", "Cargo.toml"] {
            assert!(Directory::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tests_are_recognised() {
        for (line, expected) in [
            ("-m test test_json", true),
            ("-mtest", true),
            ("-m test.test_json", true),
            ("-m tests", false),
            ("-c test", false),
            ("script.py -m test", false),
        ] {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(wants_tests(&arguments), expected, "{line}");
        }
    }
}
