//! The module `zlib` for the native Python. Build backends need it to write wheels; building Python itself does not.

use std::path::PathBuf;
use std::process::Command;

use super::Native;
use crate::cache::Key;
use crate::command;
use crate::error::Result;
use crate::progress::Context;
use crate::source::crates;
use crate::toolchain;

const RECIPE: &str = "1";

/// The crate that carries the source of zlib, and its directory there.
const ZLIB: (&str, &str) = ("libz-sys", "src/zlib");

/// The file of the extension module.
pub(crate) fn zlib(cx: &Context, native: &Native) -> Result<PathBuf> {
    let key = Key::new().value("recipe", RECIPE).value("native", native.key.hex());
    let key = crates::key(key, ZLIB.0);
    let directory = cx.entry("cpython", "native-zlib", &key, |directory| {
        const STEP: &str = "cpython native-zlib";
        let log = command::new_log(cx, STEP)?;
        let toolchain = toolchain::native(cx)?;
        let (source, _) = super::source(cx)?;
        let zlib = crates::fetch(cx)?.directory(ZLIB.0)?.join(ZLIB.1);
        let files = super::libraries::c_files(&zlib, &[])?;
        command::run(
            STEP,
            &log,
            Command::new(toolchain.cc())
                .args(["-shared", "-fPIC", "-O2", "-DHAVE_UNISTD_H", "-DHAVE_HIDDEN", "-w"])
                .arg(format!("-I{}", native.include().display()))
                .arg(format!("-I{}", source.join("Include/internal").display()))
                .arg(format!("-I{}", zlib.display()))
                .arg(source.join("Modules/zlibmodule.c"))
                .args(files)
                .arg("-o")
                .arg(directory.join(FILE)),
        )?;
        let test = format!("import sys; sys.path.insert(0, {:?}); import zlib", directory.to_string_lossy());
        command::run(STEP, &log, Command::new(native.python()).args(["-I", "-c", &test]))
    })?;
    Ok(directory.join(FILE))
}

/// A name without a platform, which is the same on all of them.
const FILE: &str = "zlib.so";
