//! The program that Cargo runs for `cargo faasm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_faasm::main(std::env::args_os())
}
