//! The command `cargo faasm`. It parses, shows and says what went wrong; what it does is done by the libraries.
//!
//! Data goes to standard output, everything else to standard error. See [`error`] for exit codes.

mod call;
mod cli;
mod commands;
pub mod error;
mod image;
mod layout;
mod locking;
mod manifest;
mod materials;
mod package;
mod progress;
mod remote;
mod shell;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::cli::Cli;
use crate::shell::Shell;

/// Runs the command line `arguments`, of which the first is the program's name, and answers the exit code.
///
/// Cargo calls `cargo-faasm faasm ARGUMENT…`; without the word `faasm` it works as well.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    error::ask_for_reports_of_panics();
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    if arguments.get(1).is_some_and(|word| word == "faasm") {
        arguments.remove(1);
    }

    // Errors of the command line are shown before its own `--color` is known.
    let color = shell::color_of_environment();
    shell::set_color(color);
    let parsed = Cli::command().color(color).try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when this fails.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    shell::set_color(cli.global.color.unwrap_or(color));

    let shell = Shell::new(cli.global.quiet, cli.global.verbose);
    commands::run(cli, &shell).unwrap_or_else(|error| {
        error::report(&shell, &error);
        error::exit_code(&error)
    })
}
