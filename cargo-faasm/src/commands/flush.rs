//! `cargo faasm flush`

use std::process::ExitCode;

use reqwest::Method;

use crate::cli::Flush;
use crate::remote::Remote;
use crate::shell::Shell;

pub(super) fn run(shell: &Shell, arguments: &Flush) -> anyhow::Result<ExitCode> {
    let server = Remote::required(&arguments.remote)?;
    server.send(server.request(Method::POST, &["flush"])?)?;
    shell.status("Flushed", server.url());
    Ok(ExitCode::SUCCESS)
}
