//! The program `py_func` once more. Cargo tells tests only where the programs of their own package are.

use std::process::ExitCode;

fn main() -> ExitCode {
    py_func::server::main(std::env::args_os())
}
