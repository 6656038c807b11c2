//! `cargo faasm token`

use std::process::ExitCode;

use py_func::server::Tokens;

use crate::cli::Token;
use crate::shell;

pub(super) fn run(arguments: &Token) -> anyhow::Result<ExitCode> {
    let token = Tokens::create(&arguments.tokens, &arguments.users)?;
    shell::data(format!("{token}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
