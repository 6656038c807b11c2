//! The native Python: exactly the version that runs in the sandbox. It builds the other one, byte-compiles the standard
//! library, and runs the build back ends of packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SHORT_VERSION, VERSION};
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::hosttools;
use crate::progress::Context;
use crate::toolchain;

const RECIPE: &str = "2";

/// A native Python of the version [`VERSION`].
#[derive(Clone, Debug)]
pub struct Native {
    directory: PathBuf,
    pub(super) key: Key,
}

impl Native {
    /// The interpreter.
    pub fn python(&self) -> PathBuf {
        self.directory.join(format!("bin/python{SHORT_VERSION}"))
    }

    /// The directory with `bin`, `include` and `lib`.
    pub(crate) fn prefix(&self) -> &Path {
        &self.directory
    }

    /// The directory of `Python.h`.
    pub(super) fn include(&self) -> PathBuf {
        self.directory.join(format!("include/python{SHORT_VERSION}"))
    }
}

/// Builds the native Python.
///
/// # Errors
///
/// When the source or the toolchain cannot be had, or the build fails.
pub fn native(cx: &Context) -> Result<Native> {
    let toolchain = toolchain::native(cx)?;
    let (source, source_key) = super::source(cx)?;
    let key = Key::new()
        .value("recipe", RECIPE)
        .value("source", source_key.hex())
        .value("toolchain", toolchain.identity());
    let directory = cx.entry("cpython", &format!("{VERSION}-native"), &key, |directory| {
        const STEP: &str = "cpython native";
        let log = command::new_log(cx, STEP)?;
        let build = directory.join("build");
        fs::create_dir(&build).map_err(Error::io("create the directory", &build))?;
        cx.message(STEP, "configuring");
        command::run(
            STEP,
            &log,
            Command::new(source.join("configure"))
                .current_dir(&build)
                .args(["--prefix=/usr/local", "--disable-test-modules", "--without-ensurepip"])
                .arg(format!("--build={}", toolchain.target()))
                .env("CC", toolchain.cc())
                .env("CXX", toolchain.cxx())
                .env("AR", toolchain.ar())
                .env("RANLIB", toolchain.ranlib())
                .env("OPT", "-DNDEBUG -O3 -g0 -fwrapv")
                .env("PKG_CONFIG", "false"),
        )?;
        cx.message(STEP, "compiling");
        let make = |arguments: &[&str]| {
            let mut make = Command::new(hosttools::make(cx)?);
            make.current_dir(&build)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("SOURCE_DATE_EPOCH", super::RELEASED)
                .args(arguments);
            command::configure_make(cx, &mut make);
            command::run(STEP, &log, &mut make)
        };
        make(&["all"])?;
        // Not `make install`: it would byte-compile all of the library three times, its tests included.
        let destination = format!("DESTDIR={}", build.join("install").display());
        make(&["altbininstall", "sharedinstall", "inclinstall", &destination])?;
        install(&source, &build, directory)?;
        fs::remove_dir_all(&build).map_err(Error::io("remove", &build))
    })?;
    Ok(Native { directory, key })
}

fn install(source: &Path, build: &Path, directory: &Path) -> Result<()> {
    fs_util::copy_tree(&build.join("install/usr/local"), directory)?;
    let library = directory.join(format!("lib/python{SHORT_VERSION}"));
    fs_util::copy_tree_except(
        &source.join("Lib"),
        &library,
        &["__pycache__", "idlelib", "test", "turtledemo"],
    )?;
    // `make` leaves the configuration of the build beside the extension modules; the file names the place.
    let place = build.join("pybuilddir.txt");
    let place = fs::read_to_string(&place).map_err(Error::io("read", &place))?;
    let data = build.join(place.trim());
    for path in fs_util::entries(&data)? {
        if let Some(name) = path.file_name().filter(|it| it.to_string_lossy().starts_with("_sysconfigdata")) {
            fs::copy(&path, library.join(name)).map_err(Error::io("copy", &path))?;
        }
    }
    Ok(())
}
