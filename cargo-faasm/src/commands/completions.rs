//! `cargo faasm completions`

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions};
use crate::shell;

pub(super) fn run(arguments: &Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    // Shells complete programs, and Cargo's own completion for zsh calls the function that this name leads to.
    clap_complete::generate(arguments.shell, &mut Cli::command(), "cargo-faasm", &mut script);
    shell::data(&script)?;
    Ok(ExitCode::SUCCESS)
}
