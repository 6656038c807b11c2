//! The server as a program of its own; see [`py_func::server::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    py_func::server::main(std::env::args_os())
}
