//! The commands, one file for each.

mod add;
mod build;
mod cache;
mod codegen;
mod completions;
mod doctor;
mod fetch;
mod flush;
mod invoke;
mod key;
mod list;
mod logs;
mod new;
mod package;
mod python;
mod recipe;
mod remove;
mod rollback;
mod run;
mod serve;
mod state;
mod token;
mod tree;
mod update;
mod upgrade;
mod upload;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::shell::Shell;

pub(crate) fn run(cli: Cli, shell: &Shell) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    match cli.command {
        Command::New(arguments) => new::run(shell, &arguments),
        Command::Build(arguments) => build::run(shell, global, &arguments),
        Command::Run(arguments) => run::run(shell, global, &arguments),
        Command::Python(arguments) => python::run(shell, global, &arguments),
        Command::Upload(arguments) => upload::run(shell, global, &arguments),
        Command::Invoke(arguments) => invoke::run(shell, global, &arguments),
        Command::List(arguments) => list::run(shell, &arguments),
        Command::Rollback(arguments) => rollback::run(shell, global, &arguments),
        Command::Serve(arguments) => serve::run(shell, global, &arguments),
        Command::State(arguments) => state::run(shell, &arguments),
        Command::Logs(arguments) => logs::run(shell, &arguments),
        Command::Flush(arguments) => flush::run(shell, &arguments),
        Command::Upgrade(arguments) => upgrade::run(shell, &arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Add(arguments) => add::run(shell, global, &arguments),
        Command::Remove(arguments) => remove::run(shell, global, &arguments),
        Command::Update(arguments) => update::run(shell, global, &arguments),
        Command::Tree(arguments) => tree::run(shell, global, &arguments),
        Command::Recipe(arguments) => recipe::run(shell, global, &arguments),
        Command::Codegen(arguments) => codegen::run(shell, global, &arguments),
        Command::Package(arguments) => package::run(shell, global, &arguments),
        Command::Fetch(arguments) => fetch::run(shell, global, &arguments),
        Command::Key(arguments) => key::run(shell, &arguments),
        Command::Doctor(arguments) => doctor::run(shell, global, &arguments),
        Command::Cache(arguments) => cache::run(shell, &arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
