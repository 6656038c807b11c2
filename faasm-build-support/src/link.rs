//! `py_func.wasm`: the guest's C code, libpython and a table of built-in modules, linked into a WASI reactor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::cpython::{self, Wasm};
use crate::error::{Error, Result};
use crate::fs_util::read_tree;
use crate::packages::build::{Package, Tools};
use crate::packages::inittab;
use crate::progress::Context;
use crate::toolchain::{self, Toolchain};

const RECIPE: &str = "3";

/// The C stack lies below everything else, so that running over its end traps instead of overwriting data.
const LINK_FLAGS: [&str; 11] = [
    "-mexec-model=reactor",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=8388608",
    "-Wl,--max-memory=4294967296",
    "-Wl,--export=__stack_pointer",
    "-Wl,--strip-debug",
    // py_func/guest/wasi.c says why.
    "-Wl,--wrap=access",
    "-Wl,--wrap=faccessat",
    "-Wl,--wrap=fcntl",
    "-Wl,--wrap=__wasilibc_find_relpath_alloc",
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

/// Packages whose extension modules are linked into a guest, and what they were built with.
pub(crate) struct Extensions<'a> {
    pub(crate) packages: &'a [Package],
    pub(crate) tools: &'a Tools,
}

/// Raised when what is done to the objects of packages changes.
const EXTENSIONS_RECIPE: &str = "3";

pub(crate) fn link(
    cx: &Context,
    toolchain: &Toolchain,
    python: &Wasm,
    guest: &GuestSources,
    extensions: Option<&Extensions<'_>>,
) -> Result<Linked> {
    let mut key = Key::new()
        .value("recipe", RECIPE)
        .value("python", python.key.hex())
        .value("toolchain", toolchain.identity())
        .value("flags", LINK_FLAGS.join(" "));
    for (name, content) in &guest.c {
        key = key.content(name, content);
    }
    let mut key = toolchain::cc_variables(key, toolchain.target());
    if let Some(extensions) = extensions {
        key = key
            .value("extensions", EXTENSIONS_RECIPE)
            .value("c++", extensions.tools.cxx.key.hex())
            .value("substitutes", extensions.tools.substitutes.key.hex());
        for package in extensions.packages {
            key = key.value(&format!("package {}", package.name), package.key.hex());
        }
    }
    let ctypes = cpython::ctypes(cx, toolchain, python)?;
    key = key.value("ctypes", ctypes.key.hex());
    let directory = cx.entry("image", "link", &key, |directory| {
        const STEP: &str = "image link";
        let work = directory.join("work");
        fs::create_dir(&work).map_err(Error::io("create the directory", &work))?;
        write_tree(&work, &guest.c)?;
        let mut modules = vec![(cpython::CTYPES.to_owned(), ctypes.object.clone())];
        for package in extensions.map(|it| it.packages).unwrap_or_default() {
            modules.extend(package.modules()?);
        }
        let log = command::new_log(cx, STEP)?;
        let (mut listed, mut module_objects) = (Vec::new(), Vec::new());
        for (name, object) in &modules {
            let (object, constructors) = mend(&log, name, object, &work)?;
            listed.push(inittab::Module { name, constructors });
            module_objects.push(object);
        }
        write_tree(&work, &[("inittab.c".to_owned(), inittab::source(&listed).into_bytes())])?;

        let mut settings = toolchain.settings();
        settings.include(python.include()).include(python.library_include()).include(&work);
        for define in DEFINES {
            settings.define(define, None);
        }
        let c_files = guest.c.iter().map(|(name, _)| name.as_str()).filter(|name| name.ends_with(".c"));
        let c_files: Vec<PathBuf> = c_files.chain(["inittab.c"]).map(|name| work.join(name)).collect();
        let mut objects = toolchain::compile(cx, STEP, &log, &settings, &c_files, &work)?;
        objects.extend(module_objects);
        let mut libraries = Vec::new();
        if let Some(extensions) = extensions {
            for package in extensions.packages {
                libraries.extend(package.libraries()?);
            }
            libraries.extend(extensions.tools.cxx.libraries.iter().cloned());
            libraries.push(extensions.tools.substitutes.archive.clone());
        }
        command::run(
            STEP,
            &log,
            Command::new(toolchain.cc())
                .args(LINK_FLAGS)
                .arg("-o")
                .arg(directory.join("py_func.wasm"))
                .args(objects)
                .args(python.archives())
                .args(libraries)
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

/// The object of an extension module, in `work`, with its tables of functions mended, and how many constructors the module has, which
/// run when it is imported. What was mended is written to `log`.
fn mend(log: &Path, module: &str, object: &Path, work: &Path) -> Result<(PathBuf, usize)> {
    let bytes = fs::read(object).map_err(Error::io("read", object))?;
    let failed = |error| Error::Package {
        package: module.to_owned(),
        reason: format!("failed to {error} of {}", object.display()),
    };
    let repaired = faasm_wasm_link::repair::repair(&bytes).map_err(failed)?;
    let name = |number| inittab::constructor_symbol(module, number);
    let (changed, constructors) =
        faasm_wasm_link::object::take_constructors(&repaired.object, name).map_err(failed)?;
    let lines = |title: &str, list: &[faasm_wasm_link::repair::Mismatch]| -> String {
        list.iter().map(|it| format!("{title} in {module}: {it}\n")).collect()
    };
    let text = lines("mended", &repaired.mended) + &lines("left as it is", &repaired.left);
    let append = || {
        use std::io::Write as _;
        fs::OpenOptions::new().append(true).open(log)?.write_all(text.as_bytes())
    };
    append().map_err(Error::io("write to the log", log))?;
    let path = work.join(format!("{module}.o"));
    fs::write(&path, changed).map_err(Error::io("write", &path))?;
    Ok((path, constructors))
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
