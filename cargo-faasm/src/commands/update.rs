//! `cargo faasm update`

use std::process::ExitCode;

use faasm_build_support::packages::Project;
use faasm_build_support::packages::lock::{self, Mode};
use faasm_recipe::normalized;

use crate::cli::{Global, Update};
use crate::error::input;
use crate::locking;
use crate::shell::Shell;

pub(super) fn run(shell: &Shell, global: &Global, arguments: &Update) -> anyhow::Result<ExitCode> {
    let directory = locking::directory(global)?;
    let _alone = locking::alone(shell, &directory)?;
    let project = Project::read(&directory)?;
    let known = lock::read_versions(&directory)?;
    let mut names = std::collections::BTreeSet::new();
    for name in &arguments.names {
        let normalized = normalized(name).filter(|it| known.contains_key(it));
        names.insert(normalized.ok_or_else(|| {
            input(format!("the package `{name}` is not in {}", lock::FILE_NAME))
                .hint("`cargo faasm tree` shows what is")
        })?);
    }
    locking::lock(shell, global, arguments.message.format, &project, &Mode::Update(names))?;
    if lock::read_versions(&directory)? == known {
        shell.status("Finished", "nothing newer will do");
    }
    Ok(ExitCode::SUCCESS)
}
