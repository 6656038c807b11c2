//! The compiler that builds of packages see, and the linker for those in Rust; `wrapper/main.rs` and `wrapper/rust_ld.rs` are the
//! programs.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const SOURCE: &str = include_str!("wrapper/main.rs");
const RUST_SOURCE: &str = include_str!("wrapper/rust_ld.rs");

const NAMES: [&str; 6] = ["cc", "c++", "ar", "ranlib", "ld", "strip"];
const RUST_NAME: &str = "rust-ld";

/// What separates flags in a variable; see the program.
pub(super) const SEPARATOR: &str = "\x1f";

/// The directory with the compiler under all of its names.
pub(super) fn wrapper(cx: &Context) -> Result<PathBuf> {
    cx.entry("toolchain", "wrapper", &key(), |directory| {
        compile(cx, "toolchain wrapper", SOURCE, directory, NAMES[0])?;
        NAMES[1..].iter().try_for_each(|name| link(directory, name))
    })
}

/// What the compiler is made from.
pub(super) fn key() -> Key {
    key_of(SOURCE)
}

/// The linker for packages in Rust.
pub(super) fn rust_linker(cx: &Context) -> Result<PathBuf> {
    let directory = cx.entry("toolchain", "rust-linker", &rust_linker_key(), |directory| {
        compile(cx, "toolchain rust-linker", RUST_SOURCE, directory, RUST_NAME)
    })?;
    Ok(directory.join(RUST_NAME))
}

/// What the linker is made from. It is not the compiler's key, since packages in C need not be built again for it.
pub(super) fn rust_linker_key() -> Key {
    key_of(RUST_SOURCE)
}

/// Which compiler it was makes no difference to what a program does.
fn key_of(source: &str) -> Key {
    Key::new().content("source", source).value("platform", env!("FAASM_HOST"))
}

/// Compiles a program into `directory`.
///
/// That is done here, because a build script cannot bring a second program with it. A build script is run by Cargo, which says
/// in `RUSTC` where the compiler is; the command finds it on `PATH`, where it must be for there to be a `cargo faasm`.
fn compile(cx: &Context, step: &str, text: &str, directory: &Path, name: &str) -> Result<()> {
    let log = command::new_log(cx, step)?;
    let source = directory.join("main.rs");
    std::fs::write(&source, text).map_err(Error::io("write", &source))?;
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut compile = Command::new(rustc);
    compile.args(["--edition", "2024", "-C", "opt-level=2", "-o"]).arg(directory.join(name)).arg(&source);
    // With rustup, `rustc` on PATH is a program that looks for the compiler there.
    for name in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_HOME"] {
        if let Some(value) = env::var_os(name) {
            compile.env(name, value);
        }
    }
    command::run(step, &log, &mut compile)
}

fn link(directory: &Path, name: &str) -> Result<()> {
    let path = directory.join(name);
    std::os::unix::fs::symlink(NAMES[0], &path).map_err(Error::io("create the link", &path))
}

#[cfg(test)]
#[path = "wrapper/main.rs"]
#[allow(dead_code)]
mod program;

#[cfg(test)]
#[path = "wrapper/rust_ld.rs"]
#[allow(dead_code)]
mod rust_program;
