//! `py_func.wasm`: the guest's C code, libpython and a table of built-in modules, linked into a WASI reactor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::cpython::Wasm;
use crate::error::{Error, Result};
use crate::progress::Context;
use crate::toolchain::{self, Toolchain};

const RECIPE: &str = "2";

/// The C stack lies below everything else, so that running over its end traps instead of overwriting data.
const LINK_FLAGS: [&str; 8] = [
    "-mexec-model=reactor",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=8388608",
    "-Wl,--max-memory=4294967296",
    "-Wl,--export=__stack_pointer",
    "-Wl,--strip-debug",
    // py_func/guest/wasi.c says why.
    "-Wl,--wrap=fcntl",
    "-Wl,--error-limit=0",
];

/// Macros without which wasi-libc hides what it only emulates.
const DEFINES: [&str; 3] =
    ["_WASI_EMULATED_SIGNAL", "_WASI_EMULATED_GETPID", "_WASI_EMULATED_PROCESS_CLOCKS"];

/// The sources of the guest: what `py_func` has in its directories `guest` and `python`.
#[derive(Clone, Debug, Default)]
pub struct GuestSources {
    /// Names and contents of C files and headers.
    pub c: Vec<(String, Vec<u8>)>,
    /// Paths below `site-packages`, and contents.
    pub python: Vec<(String, Vec<u8>)>,
}

impl GuestSources {
    /// Reads the sources from the directory of the package `py_func`.
    ///
    /// # Errors
    ///
    /// When a directory or a file cannot be read.
    pub fn read(package: &Path) -> Result<Self> {
        Ok(Self { c: read_tree(&package.join("guest"))?, python: read_tree(&package.join("python"))? })
    }
}

/// A linked guest.
#[derive(Clone, Debug)]
pub(crate) struct Linked {
    pub(crate) wasm: PathBuf,
    pub(crate) key: Key,
}

pub(crate) fn link(
    cx: &Context,
    toolchain: &Toolchain,
    python: &Wasm,
    guest: &GuestSources,
) -> Result<Linked> {
    let mut key = Key::new()
        .value("recipe", RECIPE)
        .value("python", python.key.hex())
        .value("toolchain", toolchain.identity())
        .value("flags", LINK_FLAGS.join(" "));
    for (name, content) in &guest.c {
        key = key.content(name, content);
    }
    let key = toolchain::cc_variables(key, toolchain.target());
    let directory = cx.entry("image", "link", &key, |directory| {
        const STEP: &str = "image link";
        let work = directory.join("work");
        fs::create_dir(&work).map_err(Error::io("create the directory", &work))?;
        write_tree(&work, &guest.c)?;
        write_tree(&work, &[("inittab.c".to_owned(), INITTAB.as_bytes().to_vec())])?;

        let mut settings = toolchain.settings();
        settings.include(python.include()).include(python.library_include()).include(&work);
        for define in DEFINES {
            settings.define(define, None);
        }
        let c_files = guest.c.iter().map(|(name, _)| name.as_str()).filter(|name| name.ends_with(".c"));
        let c_files: Vec<PathBuf> = c_files.chain(["inittab.c"]).map(|name| work.join(name)).collect();
        let log = command::new_log(cx, STEP)?;
        let objects = toolchain::compile(cx, STEP, &log, &settings, &c_files, &work)?;
        command::run(
            STEP,
            &log,
            Command::new(toolchain.cc())
                .args(LINK_FLAGS)
                .arg("-o")
                .arg(directory.join("py_func.wasm"))
                .args(objects)
                .args(python.archives())
                .args([
                    "-lm",
                    "-ldl",
                    "-lwasi-emulated-signal",
                    "-lwasi-emulated-getpid",
                    "-lwasi-emulated-process-clocks",
                ]),
        )?;
        fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
    })?;
    Ok(Linked { wasm: directory.join("py_func.wasm"), key })
}

/// Registers the extension modules of linked packages.
const INITTAB: &str = "\
int faasm_register_extensions(void);
int faasm_register_extensions(void) { return 0; }
";

/// The files below a directory with their relative paths, sorted, without byte code.
fn read_tree(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    fn visit(root: &Path, directory: &Path, files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
        for entry in fs::read_dir(directory).map_err(Error::io("read the directory", directory))? {
            let path = entry.map_err(Error::io("read the directory", directory))?.path();
            if path.ends_with("__pycache__") {
                continue;
            }
            if path.is_dir() {
                visit(root, &path, files)?;
            } else {
                let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                files.push((name, fs::read(&path).map_err(Error::io("read", &path))?));
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    visit(root, root, &mut files)?;
    files.sort();
    Ok(files)
}

/// Writes files with relative paths below a directory.
pub(crate) fn write_tree(root: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, content) in files {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        }
        fs::write(&path, content).map_err(Error::io("write", &path))?;
    }
    Ok(())
}
