//! The module `_ctypes`, which CPython does not build for WASI, where there is no libffi. It is one object that images are linked with as
//! they are with extension modules of packages, so that a change of it does not build CPython.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Wasm;
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;
use crate::toolchain::Toolchain;

const RECIPE: &str = "1";

/// The module's name.
pub(crate) const MODULE: &str = "_ctypes";

/// Its files in CPython's source, below `Modules/_ctypes`.
const SOURCES: [&str; 5] = ["_ctypes.c", "callbacks.c", "callproc.c", "cfield.c", "stgdict.c"];

const OWN: [(&str, &str); 3] = [
    ("ffi.h", include_str!("ctypes/ffi.h")),
    ("ffi.c", include_str!("ctypes/ffi.c")),
    ("symbols.c", include_str!("ctypes/symbols.c")),
];

/// What `configure` finds out about libffi, and ours in the place of what WASI's C library has under these names.
const DEFINES: [&str; 9] = [
    "-DPy_BUILD_CORE_MODULE",
    "-DHAVE_FFI_CLOSURE_ALLOC=1",
    "-DHAVE_FFI_PREP_CIF_VAR=1",
    "-DHAVE_FFI_PREP_CLOSURE_LOC=1",
    "-Ddlopen=faasm_dlopen",
    "-Ddlsym=faasm_dlsym",
    "-Ddlclose=faasm_dlclose",
    "-Ddlerror=faasm_dlerror",
    "-D_WASI_EMULATED_SIGNAL",
];

/// The module.
pub(crate) struct Ctypes {
    pub(crate) object: PathBuf,
    pub(crate) key: Key,
}

/// Compiles the module.
pub(crate) fn ctypes(cx: &Context, toolchain: &Toolchain, python: &Wasm) -> Result<Ctypes> {
    let mut key = Key::new()
        .value("recipe", RECIPE)
        .value("toolchain", toolchain.identity())
        .value("python", python.key.hex())
        .value("defines", DEFINES.join(" "));
    for (name, text) in OWN {
        key = key.content(name, text);
    }
    let directory = cx.entry("cpython", "ctypes", &key, |directory| {
        const STEP: &str = "cpython ctypes";
        let log = command::new_log(cx, STEP)?;
        let work = directory.join("work");
        fs::create_dir(&work).map_err(Error::io("create the directory", &work))?;
        for (name, text) in OWN {
            fs::write(work.join(name), text).map_err(Error::io("write", work.join(name)))?;
        }
        let source = python.source.join("Modules/_ctypes");
        let own = OWN
            .iter()
            .map(|(name, _)| work.join(name))
            .filter(|it| it.extension().is_some_and(|it| it == "c"));
        let mut link = Command::new(toolchain.bin().join("ld"));
        link.args(["-r", "-o"]).arg(directory.join(OBJECT));
        for file in SOURCES.iter().map(|name| source.join(name)).chain(own) {
            let object = work.join(file.file_name().unwrap_or_default()).with_extension("o");
            let mut compile = Command::new(toolchain.cc());
            compile.args(["-O2", "-fwrapv", "-DNDEBUG", "-w"]).args(DEFINES);
            for include in [python.include(), python.include().join("internal"), work.clone(), source.clone()]
            {
                compile.arg("-I").arg(include);
            }
            command::run(STEP, &log, compile.arg("-c").arg("-o").arg(&object).arg(&file))?;
            link.arg(object);
        }
        command::run(STEP, &log, &mut link)?;
        fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
    })?;
    Ok(Ctypes { object: directory.join(OBJECT), key })
}

const OBJECT: &str = "_ctypes.o";
