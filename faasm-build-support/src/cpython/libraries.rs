//! The C libraries that CPython's standard library is made with: zlib, bzip2, xz and SQLite.
//!
//! Their sources come from crates that carry them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;
use crate::source::crates;
use crate::toolchain::{self, Toolchain};

const RECIPE: &str = "1";
const STEP: &str = "cpython libraries";

/// Installed libraries: `lib/*.a` and `include/`.
pub(super) struct Libraries {
    pub(super) directory: PathBuf,
    pub(super) key: Key,
}

impl Libraries {
    /// The variables that tell CPython's `configure` where the libraries are. With them it does not ask pkg-config, which may
    /// not be there or know of others.
    pub(super) fn configure_variables(&self) -> Vec<(String, String)> {
        let flags = format!("-I{}", self.directory.join("include").display());
        LIBRARIES
            .iter()
            .flat_map(|library| {
                let link = format!("-L{} -l{}", self.directory.join("lib").display(), library.archive);
                [
                    (format!("{}_CFLAGS", library.variable), flags.clone()),
                    (format!("{}_LIBS", library.variable), link),
                ]
            })
            .collect()
    }

    /// The libraries' archives.
    pub(super) fn archives(&self) -> impl Iterator<Item = PathBuf> {
        LIBRARIES.iter().map(|library| self.directory.join("lib").join(format!("lib{}.a", library.archive)))
    }
}

struct Library {
    /// The crate that carries the source.
    package: &'static str,
    /// `z` for `libz.a`.
    archive: &'static str,
    /// The beginning of the variables by which CPython's `configure` is told about it.
    variable: &'static str,
    /// Directories below the crate, with names of the C files in them; no names stands for all but `excluded`.
    sources: &'static [(&'static str, &'static [&'static str])],
    /// What the names of files to leave out end with: other variants of what is built, and generators of tables.
    excluded: &'static [&'static str],
    include: &'static [&'static str],
    flags: &'static [&'static str],
    /// Files or directories below the crate whose content others include.
    headers: &'static [&'static str],
}

const LIBRARIES: [Library; 4] = [
    Library {
        package: "libz-sys",
        archive: "z",
        variable: "ZLIB",
        sources: &[("src/zlib", &[])],
        excluded: &[],
        include: &[],
        flags: &["-DHAVE_UNISTD_H", "-DHAVE_HIDDEN", "-D_LARGEFILE64_SOURCE=1"],
        headers: &["src/zlib/zlib.h", "src/zlib/zconf.h"],
    },
    Library {
        package: "bzip2-sys",
        archive: "bz2",
        variable: "BZIP2",
        sources: &[(
            "bzip2-1.0.8",
            &[
                "blocksort.c",
                "huffman.c",
                "crctable.c",
                "randtable.c",
                "compress.c",
                "decompress.c",
                "bzlib.c",
            ],
        )],
        excluded: &[],
        include: &[],
        flags: &["-D_FILE_OFFSET_BITS=64"],
        headers: &["bzip2-1.0.8/bzlib.h"],
    },
    Library {
        package: "liblzma-sys",
        archive: "lzma",
        variable: "LIBLZMA",
        sources: &[
            ("xz/src/liblzma/check", &[]),
            ("xz/src/liblzma/common", &[]),
            ("xz/src/liblzma/delta", &[]),
            ("xz/src/liblzma/lz", &[]),
            ("xz/src/liblzma/lzma", &[]),
            ("xz/src/liblzma/rangecoder", &[]),
            ("xz/src/liblzma/simple", &[]),
            ("xz/src/common", &["tuklib_physmem.c", "tuklib_cpucores.c"]),
        ],
        excluded: &["_small.c", "_tablegen.c", "_consts_gen.c", "_mt.c"],
        include: &[
            ".",
            "xz/src/common",
            "xz/src/liblzma/api",
            "xz/src/liblzma/check",
            "xz/src/liblzma/common",
            "xz/src/liblzma/delta",
            "xz/src/liblzma/lz",
            "xz/src/liblzma/lzma",
            "xz/src/liblzma/rangecoder",
            "xz/src/liblzma/simple",
        ],
        flags: &["-DHAVE_CONFIG_H", "-DNDEBUG", "-D_WASI_EMULATED_SIGNAL"],
        headers: &["xz/src/liblzma/api"],
    },
    Library {
        package: "libsqlite3-sys",
        archive: "sqlite3",
        variable: "LIBSQLITE3",
        sources: &[("sqlite3", &["sqlite3.c"])],
        excluded: &[],
        include: &[],
        flags: &[
            "-DSQLITE_DEFAULT_MEMSTATUS=0",
            "-DSQLITE_ENABLE_COLUMN_METADATA",
            "-DSQLITE_ENABLE_DBSTAT_VTAB",
            "-DSQLITE_ENABLE_FTS5",
            "-DSQLITE_ENABLE_MATH_FUNCTIONS",
            "-DSQLITE_ENABLE_RTREE",
            "-DSQLITE_OMIT_LOAD_EXTENSION",
            "-DSQLITE_THREADSAFE=0",
            // Its choice for WASI is a lock file, with which readers shut each other out; see py_func/guest/wasi.c.
            "-DSQLITE_DEFAULT_UNIX_VFS=\"unix\"",
            // WASI has no shared memory, which the write-ahead log needs.
            "-DSQLITE_OMIT_WAL",
            "-DLONGDOUBLE_TYPE=double",
            "-D_WASI_EMULATED_GETPID",
            "-D_WASI_EMULATED_MMAN",
            "-D_WASI_EMULATED_PROCESS_CLOCKS",
        ],
        headers: &["sqlite3/sqlite3.h", "sqlite3/sqlite3ext.h"],
    },
];

/// Compiles the libraries for WebAssembly.
pub(super) fn libraries(cx: &Context, toolchain: &Toolchain) -> Result<Libraries> {
    let key = Key::new()
        .value("recipe", RECIPE)
        .value("toolchain", toolchain.identity())
        .value("flags", LIBRARIES.map(|library| library.flags.join(" ")).join("; "));
    let key = LIBRARIES.iter().fold(key, |key, library| crates::key(key, library.package));
    let key = toolchain::cc_variables(key, toolchain.target());
    let directory = cx.entry("cpython", "libraries", &key, |directory| {
        let log = command::new_log(cx, STEP)?;
        let sources = crates::fetch(cx)?;
        for library in &LIBRARIES {
            install(cx, &log, toolchain, library, sources.directory(library.package)?, directory)?;
        }
        Ok(())
    })?;
    Ok(Libraries { directory, key })
}

fn install(
    cx: &Context,
    log: &Path,
    toolchain: &Toolchain,
    library: &Library,
    source: &Path,
    directory: &Path,
) -> Result<()> {
    let mut files = Vec::new();
    for (below, names) in library.sources {
        let below = source.join(below);
        if names.is_empty() {
            files.extend(c_files(&below, library.excluded)?);
        } else {
            files.extend(names.iter().map(|name| below.join(name)));
        }
    }
    let mut settings = toolchain.settings();
    settings.includes(library.include.iter().map(|path| source.join(path))).flags(library.flags);
    let objects = tempfile::tempdir_in(directory).map_err(Error::io("create a directory in", directory))?;
    let compiled = toolchain::compile(cx, STEP, log, &settings, &files, objects.path())?;

    let archive = format!("lib{}.a", library.archive);
    let (lib, include) = (directory.join("lib"), directory.join("include"));
    for path in [&lib, &include] {
        fs::create_dir_all(path).map_err(Error::io("create the directory", path))?;
    }
    command::run(STEP, log, Command::new(toolchain.ar()).arg("rcsD").arg(lib.join(archive)).args(compiled))?;
    for header in library.headers {
        let path = source.join(header);
        if path.is_dir() {
            fs_util::copy_tree(&path, &include)?;
        } else if let Some(name) = path.file_name() {
            fs::copy(&path, include.join(name)).map_err(Error::io("copy", &path))?;
        }
    }
    Ok(())
}

/// The C files of a directory, sorted so that the archive is always the same.
pub(super) fn c_files(directory: &Path, excluded: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in fs_util::entries(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".c") && !excluded.iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
    Ok(files)
}
