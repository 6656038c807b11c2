//! The compilers: one for WebAssembly, one for the machine itself. Both come with their own C library, so that nothing a
//! build makes depends on what else is installed.

mod cxx;
mod headers;
mod substitutes;
mod wasi_sdk;
pub(crate) mod zig;

pub use cxx::{Cxx, cxx};
pub(crate) use substitutes::{Substitutes, substitutes};

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::hosttools;
use crate::progress::Context;

/// The WebAssembly target, as clang and Rust name it. CPython 3.13 calls it `wasm32-wasi`.
pub const WASI_TARGET: &str = "wasm32-wasip1";

/// A C toolchain: programs that behave as an ordinary clang and its binary utilities, without further flags.
#[derive(Clone, Debug)]
pub struct Toolchain {
    bin: PathBuf,
    identity: String,
    target: String,
}

impl Toolchain {
    /// The C compiler, which is also the linker's driver.
    pub fn cc(&self) -> PathBuf {
        self.bin.join("cc")
    }

    /// The C++ compiler.
    pub fn cxx(&self) -> PathBuf {
        self.bin.join("c++")
    }

    /// The archiver.
    pub fn ar(&self) -> PathBuf {
        self.bin.join("ar")
    }

    /// Writes the index of an archive.
    pub fn ranlib(&self) -> PathBuf {
        self.bin.join("ranlib")
    }

    /// The directory of the programs, by these and further names.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    /// What the toolchain is, as a part of keys: equal for equal toolchains on any machine.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The target, as a triple that a `configure` script understands.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Settings of the `cc` crate for compiling with this toolchain, optimised for speed. To be run by [`compile`].
    ///
    /// The crate honours `CFLAGS` and its variants; [`cc_variables`] makes them part of a key.
    pub fn settings(&self) -> cc::Build {
        // The crate knows Rust's names of targets, in which the vendor is not optional. For WASI both are one.
        let target = if self.target == WASI_TARGET { WASI_TARGET } else { env!("FAASM_HOST") };
        let mut build = cc::Build::new();
        build
            .compiler(self.cc())
            .target(target)
            .host(env!("FAASM_HOST"))
            .opt_level(3)
            .debug(false)
            .no_default_flags(true)
            .flag("-O3")
            .flag("-fwrapv")
            .warnings(false)
            .cargo_metadata(false);
        build
    }
}

/// Compiles C files into the directory `out`, and answers the objects in the files' order.
///
/// The `cc` crate could do that too, but then what the compiler says about an error would be lost. `make` runs as many
/// compilers at once as Cargo's jobserver has tokens for.
///
/// # Errors
///
/// When a file does not compile; the compiler's words are in `log`.
pub(crate) fn compile(
    cx: &Context,
    step: &str,
    log: &Path,
    settings: &cc::Build,
    files: &[PathBuf],
    out: &Path,
) -> Result<Vec<PathBuf>> {
    let compiler = settings.try_get_compiler().map_err(|error| Error::Lookup {
        what: "the compiler's flags".to_owned(),
        reason: error.to_string(),
    })?;
    let compiler = compiler.to_command();
    let words: Vec<String> = std::iter::once(compiler.get_program())
        .chain(compiler.get_args())
        .map(|word| command::quote(&word.to_string_lossy()))
        .collect();
    let objects: Vec<String> = (0..files.len()).map(|index| format!("{index}.o")).collect();
    let mut rules = format!("all: {}\n", objects.join(" "));
    for (file, object) in files.iter().zip(&objects) {
        let line = format!("{} -c {} -o {object}", words.join(" "), command::quote(&file.to_string_lossy()));
        rules += &format!("{object}:\n\t@{}\n", line.replace('$', "$$"));
    }
    let makefile = out.join("Makefile");
    fs::write(&makefile, rules).map_err(Error::io("write", &makefile))?;
    let mut make = Command::new(hosttools::make(cx)?);
    make.arg("-C").arg(out);
    make.envs(compiler.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command::configure_make(cx, &mut make);
    command::run(step, log, &mut make)?;
    Ok(objects.iter().map(|object| out.join(object)).collect())
}

/// The toolchain for WebAssembly: the WASI SDK at `WASI_SDK_PATH` if that is set, else one made from the pinned `ziglang`
/// wheel.
///
/// # Errors
///
/// When the SDK is incomplete, the wheel cannot be had, or its C library cannot be built.
pub fn wasi(cx: &Context) -> Result<Toolchain> {
    match env::var_os(wasi_sdk::VARIABLE).filter(|it| !it.is_empty()) {
        Some(path) => wasi_sdk::toolchain(cx, Path::new(&path)),
        None => zig::wasi(cx),
    }
}

/// The toolchain for this machine, for the native Python.
///
/// # Errors
///
/// When the wheel cannot be had.
pub fn native(cx: &Context) -> Result<Toolchain> {
    zig::native(cx)
}

/// This machine, as `configure` scripts name it.
///
/// # Errors
///
/// When there is no toolchain for it.
pub(crate) fn native_triple() -> Result<String> {
    zig::build_triple()
}

/// Adds the variables of the user that change what the `cc` crate does for `target` to a key.
pub fn cc_variables(mut key: Key, target: &str) -> Key {
    for name in [
        "CFLAGS".to_owned(),
        "TARGET_CFLAGS".to_owned(),
        format!("CFLAGS_{target}"),
        format!("CFLAGS_{}", target.replace('-', "_")),
    ] {
        if let Ok(value) = env::var(&name) {
            key = key.value(&name, value);
        }
    }
    key
}

/// Writes an executable shell script that runs `command`, a list of words, with the script's own arguments behind it.
fn write_wrapper(path: &Path, variables: &[(&str, &Path)], command: &[&str]) -> Result<()> {
    let mut script = String::from("#!/bin/sh\n");
    for (name, value) in variables {
        script += &format!("export {name}={}\n", quote(&value.to_string_lossy()));
    }
    script += "exec";
    for word in command {
        script += " ";
        script += &quote(word);
    }
    script += " \"$@\"\n";
    std::fs::write(path, script).map_err(Error::io("write", path))?;
    make_executable(path)
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(Error::io("make executable", path))
}

fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link).map_err(Error::io("create the link", link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_pass_every_word_on() {
        let directory = tempfile::tempdir().unwrap();
        let wrapper = directory.path().join("it's a wrapper");
        write_wrapper(
            &wrapper,
            &[("SOME_PATH", Path::new("/a b"))],
            &["sh", "-c", "printf '%s|' \"$SOME_PATH\" \"$@\"", "sh"],
        )
        .unwrap();
        let output = std::process::Command::new(&wrapper).args(["x y", "", "$z"]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "/a b|x y||$z|");
    }
}
