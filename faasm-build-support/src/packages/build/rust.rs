//! What builds of packages in Rust are told, so that Cargo compiles extension modules for WebAssembly and everything else, such
//! as build scripts, for the machine that builds.
//!
//! Cargo, the compiler and the registry are those that the user has set up. What the package depends on is what its `Cargo.lock`
//! says.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use faasm_recipe::Recipe;

use super::wrapper;
use crate::cache::Key;
use crate::cpython::SHORT_VERSION;
use crate::error::{Error, Result};
use crate::progress::Context;

/// Rust's name of the target.
const TARGET: &str = "wasm32-wasip1";

/// How a recipe says that a build needs Rust, in pyodide's recipes and others.
const PROGRAMS: [&str; 3] = ["rustup", "rustc", "cargo"];

/// Variables by which users set up Cargo, its registries and the way to them.
const PASSED_ON: [&str; 9] = [
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
];
const PASSED_ON_PREFIXES: [&str; 4] = ["CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];

/// Whether a recipe says that it needs Rust.
pub(super) fn is_needed(recipe: &Recipe) -> bool {
    recipe.requirements.executable.iter().any(|it| PROGRAMS.contains(&it.as_str()))
}

/// What of the tools for Rust decides what is built: the compiler's version, and the linker.
pub(super) fn key(key: Key) -> Result<Key> {
    Ok(key.value("rust", ask(&["-vV"])?).value("rust linker", wrapper::rust_linker_key().hex()))
}

/// The error unless the compiler has a standard library for the target.
pub(super) fn check() -> Result<()> {
    check_library(Path::new(ask(&["--print", "target-libdir", "--target", TARGET])?.trim()))
}

fn check_library(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    Err(Error::Tool {
        tool: "Rust's standard library for WebAssembly",
        reason: format!("there is no {}", directory.display()),
        hint: format!("install it with `rustup target add {TARGET}`"),
    })
}

/// Variables for the build, some of which name the wrapper's programs. `root` is for files that they name.
pub(super) fn variables(cx: &Context, root: &Path) -> Result<Vec<(String, OsString)>> {
    let wrapper = wrapper::wrapper(cx)?;
    let native = crate::toolchain::native(cx)?;
    let configuration = root.join("pyo3.txt");
    fs::write(&configuration, pyo3()).map_err(Error::io("write", &configuration))?;

    let target = TARGET.replace('-', "_");
    let host = env!("FAASM_HOST").replace('-', "_");
    let mut variables: Vec<(String, OsString)> = vec![
        ("CARGO_BUILD_TARGET".to_owned(), TARGET.into()),
        (format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), wrapper::rust_linker(cx)?.into()),
        (format!("CC_{target}"), wrapper.join("cc").into()),
        (format!("CXX_{target}"), wrapper.join("c++").into()),
        (format!("AR_{target}"), wrapper.join("ar").into()),
        // Build scripts and their dependencies are for this machine. `cc` of the build's PATH is not.
        (format!("CC_{host}"), native.cc().into()),
        (format!("CXX_{host}"), native.cxx().into()),
        (format!("AR_{host}"), native.ar().into()),
        ("PYO3_CONFIG_FILE".to_owned(), configuration.into()),
        ("CARGO_NET_OFFLINE".to_owned(), if cx.offline { "true" } else { "false" }.into()),
    ];
    if let Some(linker) = find("cc") {
        variables.push((format!("CARGO_TARGET_{}_LINKER", host.to_uppercase()), linker.into()));
    }
    match env::var_os("CARGO_MAKEFLAGS") {
        // The jobserver of the Cargo that runs this build script.
        Some(flags) => variables.push(("CARGO_MAKEFLAGS".to_owned(), flags)),
        None => variables.push(("CARGO_BUILD_JOBS".to_owned(), cx.jobs.to_string().into())),
    }
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if PASSED_ON.contains(&name) || PASSED_ON_PREFIXES.iter().any(|it| name.starts_with(it)) {
            variables.push((name.to_owned(), value));
        }
    }
    Ok(variables)
}

/// What PyO3 and maturin are to know of the target's Python; see
/// <https://pyo3.rs/latest/building-and-distribution.html#advanced-config-files>.
fn pyo3() -> String {
    let tag = SHORT_VERSION.replace('.', "");
    format!(
        "implementation=CPython\nversion={SHORT_VERSION}\nshared=false\nabi3=false\npointer_width=32\n\
         suppress_build_script_link_lines=true\next_suffix=.cpython-{tag}-wasm32-wasi.so\n"
    )
}

/// What the compiler answers. A build script is told by Cargo which one it is.
fn ask(arguments: &[&str]) -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let refuse = |reason: String| Error::Tool {
        tool: "the Rust compiler",
        reason,
        hint: "install Rust with rustup, and put its programs on PATH".to_owned(),
    };
    let output = Command::new(&rustc).args(arguments).output();
    let output = output.map_err(|error| refuse(format!("{}: {error}", rustc.to_string_lossy())))?;
    if !output.status.success() {
        return Err(refuse(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program on the PATH of this process.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|it| it.join(program)).find(|it| it.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_target_says_how_it_is_installed() {
        let directory = tempfile::tempdir().unwrap();
        check_library(directory.path()).unwrap();
        let error = check_library(&directory.path().join("wasm32-wasip1/lib")).unwrap_err();
        assert!(error.to_string().contains("wasm32-wasip1/lib"), "{error}");
        assert_eq!(error.hint().unwrap(), "install it with `rustup target add wasm32-wasip1`");
    }

    #[test]
    fn recipes_say_that_they_need_rust() {
        for (program, expected) in [("rustup", true), ("cargo", true), ("cmake", false)] {
            let mut recipe = Recipe::default();
            recipe.requirements.executable.push(program.to_owned());
            assert_eq!(is_needed(&recipe), expected, "{program}");
        }
    }
}
