//! The standard library as it lies below the root of the sandbox, byte-compiled.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::wasm::SYSCONFIG_DATA;
use super::{Native, SHORT_VERSION, VERSION, Wasm};
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;

const RECIPE: &str = "2";

/// Packages that need what a sandbox does not have (a screen, pip's own wheels), and the tests, which are as large as the rest
/// together.
const LEFT_OUT: [&str; 6] = ["__pycache__", "ensurepip", "idlelib", "test", "tkinter", "turtledemo"];

/// The standard library.
#[derive(Clone, Debug)]
pub struct Stdlib {
    /// Contains `lib/python3.13`.
    pub root: PathBuf,
    /// Contains the package `test`: CPython's own tests, not part of an image.
    pub tests: PathBuf,
    /// What it was made from.
    pub key: Key,
}

/// Lays out the standard library.
///
/// # Errors
///
/// When it cannot be copied or byte-compiled.
pub fn stdlib(cx: &Context, native: &Native, wasm: &Wasm) -> Result<Stdlib> {
    let key = Key::new().value("recipe", RECIPE).value("wasm", wasm.key.hex());
    let directory = cx.entry("cpython", &format!("{VERSION}-stdlib"), &key, |directory| {
        let library = directory.join("root").join(library_path());
        fs_util::copy_tree_except(&wasm.source.join("Lib"), &library, &LEFT_OUT)?;
        let data = wasm.sysconfig_data();
        std::fs::copy(&data, library.join(SYSCONFIG_DATA)).map_err(Error::io("copy", &data))?;
        byte_compile(cx, native, &directory.join("root"), &library, true)?;
        write_executable(&directory.join("root"))?;
        fs_util::copy_tree_except(
            &wasm.source.join("Lib/test"),
            &directory.join("tests/test"),
            &["__pycache__"],
        )
    })?;
    Ok(Stdlib { root: directory.join("root"), tests: directory.join("tests"), key })
}

/// Writes the file that `sys.executable` names. Modules such as `platform` read it to find out what they run on.
fn write_executable(root: &Path) -> Result<()> {
    let path = root.join("bin").join(format!("python{SHORT_VERSION}"));
    let directory = root.join("bin");
    std::fs::create_dir(&directory).map_err(Error::io("create the directory", &directory))?;
    std::fs::write(&path, "The interpreter is a part of this sandbox. There is no program to start.\n")
        .map_err(Error::io("write", &path))
}

/// Where the library is below the root of the sandbox.
pub(crate) fn library_path() -> PathBuf {
    Path::new("lib").join(format!("python{SHORT_VERSION}"))
}

/// Byte-compiles what is in `directory`, which is below the future root of a sandbox, `root`.
///
/// The byte code does not check its source: times change when files are copied, and nothing in a sandbox's root ever does.
///
/// Packages may have files that are no Python of this version, for others to import: then `errors` is false.
pub(crate) fn byte_compile(
    cx: &Context,
    native: &Native,
    root: &Path,
    directory: &Path,
    errors: bool,
) -> Result<()> {
    // Tracebacks are to name files as they are called in the sandbox.
    const PROGRAM: &str = "import sys, compileall, py_compile\n\
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH\n\
        directory, root, workers, errors = sys.argv[1:]\n\
        done = compileall.compile_dir(directory, quiet=1, workers=int(workers), invalidation_mode=mode, stripdir=root, prependdir='/')\n\
        sys.exit(errors == 'true' and not done)\n";
    const STEP: &str = "byte-compile";
    let log = command::new_log(cx, STEP)?;
    cx.message(STEP, "byte-compiling");
    command::run(
        STEP,
        &log,
        Command::new(native.python())
            .args(["-I", "-B", "-c", PROGRAM])
            .args([directory, root])
            .args([cx.jobs.to_string(), errors.to_string()]),
    )
}
