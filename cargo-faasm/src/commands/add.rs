//! `cargo faasm add`

use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use faasm_build_support::packages::Project;
use faasm_build_support::packages::lock::Mode;
use faasm_recipe::Requirement;

use crate::cli::{Add, Global};
use crate::error::input;
use crate::shell::Shell;
use crate::{locking, manifest};

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Add) -> anyhow::Result<ExitCode> {
    let directory = locking::directory(global)?;
    let _alone = locking::alone(shell, &directory)?;
    let path = directory.join("Cargo.toml");
    let requirements =
        arguments.requirements.iter().map(|it| it.parse()).collect::<Result<Vec<Requirement>, _>>()?;
    let files = arguments
        .files
        .iter()
        .map(|file| below(&directory, file))
        .collect::<anyhow::Result<Vec<String>>>()?;

    let mut text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    if !requirements.is_empty() {
        text = manifest::with_packages(&text, &requirements)?;
    }
    if !files.is_empty() {
        text = manifest::with_files(&text, &files)?;
    }
    // Nothing is written before there are versions that fit.
    let project = Project::parse(&directory, &text)?;
    locking::lock(shell, global, arguments.message.format, &project, &Mode::Keep)?;
    locking::write_manifest(&directory, &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The path of a file relative to the package, so that it means the same in every copy of both.
fn below(directory: &Path, file: &Path) -> anyhow::Result<String> {
    let current = env::current_dir().context("failed to find the current directory")?;
    let whole = fs::canonicalize(current.join(file))
        .with_context(|| input(format!("failed to find the file {}", file.display())))?;
    let directory = fs::canonicalize(directory).context("failed to find the package")?;
    let shared = whole.components().zip(directory.components()).take_while(|(a, b)| a == b).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(whole.components().skip(shared)).collect();
    Ok(relative.to_string_lossy().into_owned())
}
