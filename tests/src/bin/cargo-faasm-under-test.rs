//! The program `cargo-faasm` once more. Cargo tells tests only where the programs of their own package are.

use std::process::ExitCode;

fn main() -> ExitCode {
    cargo_faasm::main(std::env::args_os())
}
