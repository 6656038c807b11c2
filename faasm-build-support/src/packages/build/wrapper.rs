//! The compiler that builds of packages see; `wrapper/main.rs` is the program.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const SOURCE: &str = include_str!("wrapper/main.rs");

const NAMES: [&str; 7] = ["cc", "c++", "ar", "ranlib", "ld", "strip", "rust-ld"];

/// What separates flags in a variable; see the program.
pub(super) const SEPARATOR: &str = "\x1f";

/// The directory with the program under all of its names.
///
/// It is compiled here, because a build script cannot bring a second program with it. A build script is run by Cargo, which says
/// in `RUSTC` where the compiler is; the command finds it on `PATH`, where it must be for there to be a `cargo faasm`.
pub(super) fn wrapper(cx: &Context) -> Result<PathBuf> {
    let key = key();
    cx.entry("toolchain", "wrapper", &key, |directory| {
        const STEP: &str = "toolchain wrapper";
        let log = command::new_log(cx, STEP)?;
        let source = directory.join("main.rs");
        std::fs::write(&source, SOURCE).map_err(Error::io("write", &source))?;
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut compile = Command::new(rustc);
        compile
            .args(["--edition", "2024", "-C", "opt-level=2", "-o"])
            .arg(directory.join(NAMES[0]))
            .arg(&source);
        // With rustup, `rustc` on PATH is a program that looks for the compiler there.
        for name in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_HOME"] {
            if let Some(value) = env::var_os(name) {
                compile.env(name, value);
            }
        }
        command::run(STEP, &log, &mut compile)?;
        NAMES[1..].iter().try_for_each(|name| link(directory, name))
    })
}

/// What the program is made from. Which compiler it was makes no difference to what it does.
pub(super) fn key() -> Key {
    Key::new().content("source", SOURCE).value("platform", env!("FAASM_HOST"))
}

fn link(directory: &Path, name: &str) -> Result<()> {
    let path = directory.join(name);
    std::os::unix::fs::symlink(NAMES[0], &path).map_err(Error::io("create the link", &path))
}

#[cfg(test)]
#[path = "wrapper/main.rs"]
#[allow(dead_code)]
mod program;
