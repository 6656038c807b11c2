//! `cargo faasm remove`

use std::fs;
use std::process::ExitCode;

use anyhow::Context as _;
use faasm_build_support::packages::Project;
use faasm_build_support::packages::lock::Mode;
use faasm_recipe::normalized;

use crate::cli::{Global, Remove};
use crate::shell::Shell;
use crate::{locking, manifest};

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Remove) -> anyhow::Result<ExitCode> {
    let directory = locking::directory(global)?;
    let _alone = locking::alone(shell, &directory)?;
    let path = directory.join("Cargo.toml");
    let names: Vec<String> =
        arguments.names.iter().map(|name| normalized(name).unwrap_or_else(|| name.clone())).collect();
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let text = manifest::without_packages(&text, &names)?;
    let project = Project::parse(&directory, &text)?;
    let locked = locking::lock(shell, global, arguments.message.format, &project, &Mode::Keep)?;
    locking::write_manifest(&directory, &text)?;
    for name in names.iter().filter(|name| locked.iter().any(|it| it.name == **name)) {
        shell.warn(format_args!("{name} is still there, because something else requires it"));
    }
    Ok(ExitCode::SUCCESS)
}
