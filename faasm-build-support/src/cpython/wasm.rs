//! CPython for WebAssembly: a static library, its headers, and what it must be linked with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::libraries::{self, Libraries};
use super::{SHORT_VERSION, VERSION, native};
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::hosttools;
use crate::progress::Context;
use crate::toolchain::{self, Toolchain};

const RECIPE: &str = "4";

/// Archives of the build tree, below `Modules`, that libpython refers to.
const MODULE_ARCHIVES: [&str; 3] =
    ["_hacl/libHacl_Hash_SHA2.a", "expat/libexpat.a", "_decimal/libmpdec/libmpdec.a"];

/// Answers for `configure` on top of CPython's own `config.site` for WASI.
const CONFIG_SITE: &str = "
# Emulated by copying the file into memory: a private, read-only copy is not what the module `mmap` promises.
ac_cv_func_mmap=no

# The guest has these itself (py_func/guest/wasi.c).
ac_cv_func_dup=yes
ac_cv_func_dup2=yes
ac_cv_func_dup3=yes
ac_cv_func_getegid=yes
ac_cv_func_geteuid=yes
ac_cv_func_getgid=yes
ac_cv_func_getuid=yes
ac_cv_func_umask=yes
";

/// The declarations of these functions, which WASI's headers leave out. Everything that uses Python includes `pyconfig.h` first.
const DECLARATIONS: &str = "
#ifdef __cplusplus
extern \"C\" {
#endif
int dup(int);
int dup2(int, int);
int dup3(int, int, int);
unsigned int getegid(void);
unsigned int geteuid(void);
unsigned int getgid(void);
unsigned int getuid(void);
unsigned int umask(unsigned int);
#ifdef __cplusplus
}
#endif
";

/// CPython for WebAssembly.
#[derive(Clone, Debug)]
pub struct Wasm {
    directory: PathBuf,
    libraries: Vec<PathBuf>,
    library_include: PathBuf,
    pub(crate) source: PathBuf,
    /// What it was made from.
    pub key: Key,
}

impl Wasm {
    /// The directory of `Python.h`.
    pub fn include(&self) -> PathBuf {
        self.directory.join(format!("include/python{SHORT_VERSION}"))
    }

    /// The directory of the headers of the C libraries, such as `sqlite3.h`.
    pub fn library_include(&self) -> &Path {
        &self.library_include
    }

    /// Everything an executable must be linked with, in order.
    pub fn archives(&self) -> Vec<PathBuf> {
        let own = std::iter::once(format!("libpython{SHORT_VERSION}.a"))
            .chain(MODULE_ARCHIVES.iter().map(|path| file_name(path).to_owned()))
            .map(|name| self.directory.join("lib").join(name));
        own.chain(self.libraries.iter().cloned()).collect()
    }

    /// The module with the configuration of the target, as `sysconfig` reads it.
    pub(crate) fn sysconfig_data(&self) -> PathBuf {
        self.directory.join("lib").join(SYSCONFIG_DATA)
    }
}

pub(crate) const SYSCONFIG_DATA: &str = "_sysconfigdata__wasi_wasm32-wasi.py";

/// Builds CPython for WebAssembly, and before it what that needs.
///
/// # Errors
///
/// When a source or toolchain cannot be had, or a build fails.
pub fn wasm(cx: &Context, toolchain: &Toolchain) -> Result<Wasm> {
    let (source, source_key) = super::source(cx)?;
    let libraries = libraries::libraries(cx, toolchain)?;
    let native = native(cx)?;
    let key = Key::new()
        .value("recipe", RECIPE)
        .value("source", source_key.hex())
        .value("toolchain", toolchain.identity())
        .value("libraries", libraries.key.hex())
        .value("native", native.key.hex())
        .value("config.site", CONFIG_SITE)
        .value("declarations", DECLARATIONS);
    let directory = cx.entry("cpython", &format!("{VERSION}-wasm32-wasi"), &key, |directory| {
        const STEP: &str = "cpython wasm32-wasi";
        let log = command::new_log(cx, STEP)?;
        let build = directory.join("build");
        fs::create_dir(&build).map_err(Error::io("create the directory", &build))?;
        cx.message(STEP, "configuring");
        configure(STEP, &log, &source, &build, toolchain, &libraries, &native.python())?;
        cx.message(STEP, "compiling");
        let mut make = Command::new(hosttools::make(cx)?);
        make.current_dir(&build)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SOURCE_DATE_EPOCH", super::RELEASED)
            .arg("all")
            // The interpreter that is linked here, and thrown away, has nobody who implements what the guest does.
            .arg("LINKFORSHARED=-Wl,--allow-undefined");
        command::configure_make(cx, &mut make);
        command::run(STEP, &log, &mut make)?;
        install(&source, &build, directory)?;
        fs::remove_dir_all(&build).map_err(Error::io("remove", &build))
    })?;
    Ok(Wasm {
        directory,
        libraries: libraries.archives().collect(),
        library_include: libraries.directory.join("include"),
        source,
        key,
    })
}

fn configure(
    step: &str,
    log: &Path,
    source: &Path,
    build: &Path,
    toolchain: &Toolchain,
    libraries: &Libraries,
    native: &Path,
) -> Result<()> {
    let upstream = source.join("Tools/wasm/config.site-wasm32-wasi");
    let upstream = fs::read_to_string(&upstream).map_err(Error::io("read", &upstream))?;
    let site = build.join("config.site");
    fs::write(&site, upstream + CONFIG_SITE).map_err(Error::io("write", &site))?;
    let mut preprocessor = toolchain.cc().into_os_string();
    preprocessor.push(" -E");
    command::run(
        step,
        log,
        Command::new(source.join("configure"))
            .current_dir(build)
            .args(["--host=wasm32-wasip1", "--with-suffix=.wasm", "--prefix=/usr/local"])
            .args(["--disable-test-modules", "--without-ensurepip", "--with-pymalloc"])
            .arg(format!("--build={}", toolchain::native_triple()?))
            .arg(format!("--with-build-python={}", native.display()))
            .env("CONFIG_SITE", &site)
            .env("CC", toolchain.cc())
            .env("CXX", toolchain.cxx())
            .env("CPP", preprocessor)
            .env("AR", toolchain.ar())
            .env("RANLIB", toolchain.ranlib())
            .env("OPT", "-DNDEBUG -O3 -g0 -fwrapv")
            .env("HOSTRUNNER", "false")
            .env("PKG_CONFIG", "false")
            .env("READELF", "false")
            .envs(libraries.configure_variables()),
    )?;
    let header = build.join("pyconfig.h");
    let configured = fs::read_to_string(&header).map_err(Error::io("read", &header))?;
    fs::write(&header, configured + DECLARATIONS).map_err(Error::io("write", &header))
}

fn install(source: &Path, build: &Path, directory: &Path) -> Result<()> {
    let (lib, include) = (directory.join("lib"), directory.join(format!("include/python{SHORT_VERSION}")));
    for path in [&lib, &include] {
        fs::create_dir_all(path).map_err(Error::io("create the directory", path))?;
    }
    let copy = |from: PathBuf, to: PathBuf| fs::copy(&from, to).map(drop).map_err(Error::io("copy", &from));
    let library = format!("libpython{SHORT_VERSION}.a");
    copy(build.join(&library), lib.join(&library))?;
    for archive in MODULE_ARCHIVES {
        copy(build.join("Modules").join(archive), lib.join(file_name(archive)))?;
    }
    fs_util::copy_tree(&source.join("Include"), &include)?;
    copy(build.join("pyconfig.h"), include.join("pyconfig.h"))?;
    let place = build.join("pybuilddir.txt");
    let place = fs::read_to_string(&place).map_err(Error::io("read", &place))?;
    copy(build.join(place.trim()).join(SYSCONFIG_DATA), lib.join(SYSCONFIG_DATA))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
