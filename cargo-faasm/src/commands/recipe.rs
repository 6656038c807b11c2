//! `cargo faasm recipe`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use faasm_build_support::packages::{self, Project};
use faasm_recipe::{FILE_NAME, Finding, Severity};
use serde_json::json;

use crate::cli::{Format, Global, Recipe, RecipeAction};
use crate::error::{Exit, input, sentence};
use crate::package::{self, Place};
use crate::progress::Steps;
use crate::shell::{self, Shell};
use crate::units::show_size;
use crate::{image, layout};

mod test;

use test::Suite;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Recipe) -> anyhow::Result<ExitCode> {
    let format = arguments.message.format;
    match &arguments.action {
        RecipeAction::New { package, folder } => new(shell, global, format, package, folder),
        RecipeAction::Check { directories } => check(shell, global, format, directories),
        RecipeAction::Build { directory, wheel } => build(shell, global, format, directory, wheel.as_deref()),
        RecipeAction::Test { directory, imports, arguments } => {
            let suite = if *imports { Suite::Skip } else { Suite::Run(arguments) };
            test::run(shell, global, format, directory, &suite)
        }
    }
}

fn new(
    shell: &Shell,
    global: &Global,
    format: Format,
    package: &str,
    folder: &Path,
) -> anyhow::Result<ExitCode> {
    let (name, version) = match package.split_once("==") {
        Some((name, version)) => {
            let parsed = version.trim().parse();
            (name.trim(), Some(parsed.with_context(|| input(format!("{version:?} is no version")))?))
        }
        None => (package, None),
    };
    // A recipe is written even if the package around is broken, or its folder of recipes is missing.
    let beside = fs::canonicalize(folder).ok();
    let mut folders = around(global, beside.clone()).unwrap_or_else(|error| {
        let reason = sentence(error.as_ref());
        shell.warn(format_args!("recipes of the package here are not looked at: {reason}"));
        Vec::from_iter(beside)
    });
    folders.retain(|it| it.is_dir());
    let steps = Steps::new(*shell, format);
    let cx = image::context(global, &steps)?;
    let draft = packages::draft(&cx, name, version.as_ref(), &folders)?;
    drop(steps);

    let directory = folder.join(draft.recipe.name());
    if directory.symlink_metadata().is_ok() {
        return Err(input(format!("{} exists already", directory.display()))
            .hint("remove it, or choose another folder with --dir")
            .into());
    }
    let create = || {
        fs::create_dir_all(folder)?;
        let new = layout::temporary_directory(folder)?;
        fs::write(new.path().join(FILE_NAME), draft.recipe.to_yaml())?;
        fs::rename(new.path(), &directory)?;
        // There is nothing left to remove under the temporary name.
        let _ = new.keep();
        std::io::Result::Ok(())
    };
    create().with_context(|| format!("failed to create {}", directory.display()))?;

    let package = &draft.recipe.package;
    let built = draft.backend.as_ref().map_or_else(|| "a wheel".to_owned(), |it| format!("built by {it}"));
    shell.status("Created", format_args!("the recipe for {} {}, {built}", package.name, package.version));
    if draft.is_pure {
        shell.warn("there is a wheel in pure Python, which needs no recipe");
    }
    match format {
        Format::Human => shell::data(format!("{}\n", directory.display()).as_bytes())?,
        Format::Json => shell::json(&json!({
            "reason": "recipe-created", "directory": directory, "name": package.name, "version": package.version,
            "backend": draft.backend, "pure": draft.is_pure,
        }))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(
    shell: &Shell,
    global: &Global,
    format: Format,
    directories: &[PathBuf],
) -> anyhow::Result<ExitCode> {
    let steps = Steps::new(*shell, format);
    let cx = image::context(global, &steps)?;
    let mut errors = 0;
    for directory in directories {
        let others = packages::readable_recipes(&cx, &folders(global, directory)?)?;
        match faasm_recipe::check(directory, &others) {
            Ok(findings) => {
                for finding in findings {
                    errors += usize::from(finding.severity == Severity::Error);
                    show(format, &finding)?;
                }
            }
            // Others are still looked at.
            Err(error) if directories.len() > 1 => {
                errors += 1;
                shell.error(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    match errors {
        0 => {
            shell.status("Checked", format_args!("{} without errors", count(directories.len(), "recipe")));
            Ok(ExitCode::SUCCESS)
        }
        errors => {
            shell.error(count(errors, "error"));
            Ok(ExitCode::from(Exit::Input as u8))
        }
    }
}

fn show(format: Format, finding: &Finding) -> anyhow::Result<()> {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    match format {
        Format::Human => shell::data(format!("{severity}: {finding}\n").as_bytes()),
        Format::Json => shell::json(&json!({
            "reason": "recipe-finding", "severity": severity, "path": finding.path, "key": finding.key,
            "line": finding.place.map(|it| it.line), "column": finding.place.map(|it| it.column),
            "message": finding.message,
        })),
    }
}

fn build(
    shell: &Shell,
    global: &Global,
    format: Format,
    directory: &Path,
    wheels: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let steps = Steps::new(*shell, format);
    let cx = image::context(global, &steps)?;
    let folders = folders(global, directory)?;
    let package = packages::build_recipe(&cx, directory, &folders)?;
    let wheel = wheels.map(|into| packages::export(&cx, directory, &folders, into)).transpose()?;
    drop(steps);
    let modules: Vec<String> = package.modules()?.into_iter().map(|(name, _)| name).collect();
    let libraries = package.libraries()?;
    let what = if libraries.is_empty() {
        count(modules.len(), "extension module")
    } else {
        count(libraries.len(), "library")
    };
    let size = package.size()?;
    shell.status("Finished", format_args!("{} {} with {what}", package.name, package.version));
    if libraries.is_empty() {
        shell.status(
            "Size",
            format_args!("{} of code, {} of files", show_size(size.code), show_size(size.files)),
        );
    }
    if let Some(wheel) = &wheel {
        shell.status("Exported", wheel.display());
    }
    match format {
        Format::Human => {
            let text: String = modules.iter().map(|it| format!("{it}\n")).collect();
            shell::data(text.as_bytes())?;
        }
        Format::Json => shell::json(&json!({
            "reason": "recipe-built", "name": package.name, "version": package.version, "site": package.site(),
            "modules": modules, "libraries": libraries, "top_level": package.top_level()?,
            "code_bytes": size.code, "file_bytes": size.files, "wheel": wheel,
        }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Folders with recipes that the one in `directory` may need: those beside it, and those of the package around.
fn folders(global: &Global, directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    around(global, fs::canonicalize(directory).ok().and_then(|it| it.parent().map(Path::to_path_buf)))
}

fn around(global: &Global, beside: Option<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::from_iter(beside);
    if let Place::Package(package) = package::locate(global)? {
        folders.extend(Project::read(package.directory())?.recipe_folders);
    }
    Ok(folders)
}

fn count(number: usize, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (number, Some(stem)) => format!("{number} {stem}ies"),
        (number, None) => format!("{number} {what}s"),
    }
}
