//! `cargo faasm recipe test`

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use faasm_build_support::{Context, Image, packages};
use faasm_recipe::Recipe;
use py_func::{CallError, Runtime};
use serde_json::json;
use tempfile::TempDir;

use crate::call;
use crate::cli::{Format, Global, Limits};
use crate::error::{Exit, input};
use crate::image;
use crate::progress::Steps;
use crate::shell::{self, Shell};

/// What limits calls does not limit the interpreter as a command.
const NO_LIMITS: Limits = Limits { timeout: None, memory: None, output: None };

/// Where tests find the files of the source that they need, which are their current directory.
const FILES: &str = "/suite";

/// What pytest is to do without in the sandbox: signals, a cache for the next run, and directories of other users, of which it asks
/// whether one is its own, since files have no owners here.
const PYTEST_OPTIONS: &str = "-p no:faulthandler -p no:cacheprovider --basetemp=/tmp/pytest";

/// What of the recipe's suite is run.
pub(super) enum Suite<'a> {
    Skip,
    /// Each command, with these arguments behind its own.
    Run(&'a [String]),
}

/// Imports each module in an image that has the package, one after the other, so that one that fails does not hide others, and
/// runs each command of the package's tests. What these print goes to standard error.
pub(super) fn run(
    shell: &Shell,
    global: &Global,
    format: Format,
    directory: &Path,
    suite: &Suite<'_>,
) -> anyhow::Result<ExitCode> {
    let recipe = Recipe::read(directory)?;
    if recipe.build.package_type.is_library() {
        return Err(input(format!("`{}` is a C library, which has nothing to import", recipe.package.name))
            .hint("test a package that is built with it")
            .into());
    }
    let commands = match suite {
        Suite::Skip => Vec::new(),
        Suite::Run(more) => commands(&recipe, more)?,
    };
    let steps = Steps::new(*shell, format);
    let cx = image::context(global, &steps)?;
    let mut folders = vec![directory.to_path_buf()];
    folders.extend(super::folders(global, directory)?);
    let mut image = Image::new(image::own_guest())
        .packages([format!("{}=={}", recipe.package.name, recipe.package.version)])
        .recipe_folders(folders);
    if !commands.is_empty() {
        image = image.packages(recipe.test.requires.clone()).whole_packages([&recipe.package.name]);
    }
    let built = image.build_in(&cx)?;
    let files = if commands.is_empty() { None } else { Some(files(&cx, &recipe, directory)?) };
    let modules = [&recipe.test.imports, &recipe.package.top_level].into_iter().find(|it| !it.is_empty());
    let modules = match modules {
        Some(named) => named.clone(),
        None => packages::build_recipe(&cx, directory, &super::folders(global, directory)?)?.top_level()?,
    };
    drop(steps);

    let runtime = call::runtime(built.directory(), NO_LIMITS, None)?;
    let mut failed = Vec::new();
    for module in &modules {
        let command = ["-c".to_owned(), format!("import {module}")];
        let problem = problem(interpret(&runtime, &command, None)?);
        match format {
            Format::Human => shell.status(if problem.is_none() { "Imported" } else { "Failed" }, module),
            Format::Json => {
                shell::json(
                    &json!({ "reason": "import-tested", "module": module, "ok": problem.is_none(), "problem": problem }),
                )?;
            }
        }
        failed.extend(problem.map(|problem| format!("import {module}: {problem}")));
    }
    for (number, (text, arguments)) in commands.iter().enumerate() {
        shell.status("Testing", format_args!("{text} ({} of {})", number + 1, commands.len()));
        let problem = problem(interpret(&runtime, arguments, files.as_ref())?);
        if format == Format::Json {
            shell::json(
                &json!({ "reason": "suite-tested", "command": text, "ok": problem.is_none(), "problem": problem }),
            )?;
        }
        failed.extend(problem.map(|problem| format!("{text}: {problem}")));
    }
    match failed.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        failed => {
            let total = modules.len() + commands.len();
            shell.error(format_args!("{} of {total} failed:\n  {}", failed.len(), failed.join("\n  ")));
            Ok(ExitCode::from(Exit::Function as u8))
        }
    }
}

/// The commands of the suite as they are written, and their arguments.
fn commands(recipe: &Recipe, more: &[String]) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let parse = |text: &String| {
        let mut arguments: Vec<String> = shlex::Shlex::new(text).collect();
        if arguments.is_empty() {
            return Err(input(format!("test/suite: {text:?} is no command")));
        }
        arguments.extend(more.iter().cloned());
        Ok((text.clone(), arguments))
    };
    Ok(recipe.test.suite.iter().map(parse).collect::<Result<_, _>>()?)
}

/// A directory with the files of the source that the tests need.
fn files(cx: &Context, recipe: &Recipe, directory: &Path) -> anyhow::Result<TempDir> {
    let create = || tempfile::tempdir().context("failed to create a temporary directory");
    let files = create()?;
    if recipe.test.source_files.is_empty() {
        return Ok(files);
    }
    let unpacked = create()?;
    let source = packages::unpack_source(cx, directory, &unpacked.path().join("source"))?;
    for name in &recipe.test.source_files {
        // Both are paths as of the sandbox: what leads out of the source is not in it.
        let relative = inside(name)?;
        let (from, to) = (source.join(&relative), files.path().join(&relative));
        if !from.exists() {
            return Err(input(format!("test/source-files: there is no {name} in the source")).into());
        }
        copy(&from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
    }
    Ok(files)
}

fn inside(name: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(name);
    let normal = path.components().all(|it| matches!(it, std::path::Component::Normal(_)));
    if normal {
        Ok(path.to_path_buf())
    } else {
        Err(input(format!("test/source-files: {name} is not within the source")).into())
    }
}

/// Copies a file or a directory. Of links the file that they name is copied, as long as there is one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if name != OsStr::new("__pycache__") && from.join(&name).exists() {
            copy(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

/// Runs an interpreter that has what calls have as well, `/tmp` and `/dev/null`.
fn interpret(
    runtime: &Runtime,
    arguments: &[String],
    files: Option<&TempDir>,
) -> anyhow::Result<Result<i32, CallError>> {
    let create = || tempfile::tempdir().context("failed to create a temporary directory");
    let (temporary, devices) = (create()?, create()?);
    // An ordinary file, which pytest for one opens to write nothing to it.
    let null = devices.path().join("null");
    fs::write(&null, "").with_context(|| format!("failed to write {}", null.display()))?;
    let mut interpreter = runtime
        .interpreter()
        .arguments(arguments.iter().cloned())
        .all_to_stderr()
        .read_write(temporary.path(), "/tmp")
        .read_write(devices.path(), "/dev")
        .variable("TMPDIR", "/tmp")
        .variable("PYTEST_ADDOPTS", PYTEST_OPTIONS);
    if let Some(files) = files {
        interpreter = interpreter.read_write(files.path(), FILES).variable("FAASM_CWD", FILES);
    }
    Ok(interpreter.run()?)
}

/// Why an interpreter did not succeed.
fn problem(ended: Result<i32, CallError>) -> Option<String> {
    match ended {
        Ok(0) => None,
        Ok(status) => Some(format!("status {status}")),
        Err(error) => Some(format!("the interpreter did not end by itself: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_in_the_syntax_of_shells() {
        let mut recipe = Recipe::default();
        recipe.test.suite = vec!["-m pytest tests -m 'not slow'".to_owned()];
        let commands = commands(&recipe, &["-x".to_owned()]).unwrap();
        assert_eq!(commands[0].1, ["-m", "pytest", "tests", "-m", "not slow", "-x"]);
        recipe.test.suite = vec![" ".to_owned()];
        assert!(super::commands(&recipe, &[]).is_err());
    }

    #[test]
    fn files_are_those_of_the_source() {
        for (name, expected) in
            [("tests", true), ("a/b", true), ("../a", false), ("/etc", false), ("a/../../b", false)]
        {
            assert_eq!(inside(name).is_ok(), expected, "{name}");
        }
    }
}
