//! What is particular to build scripts: where they run, and what they tell Cargo.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Variables that change what is built, or where it is found.
const VARIABLES: [&str; 9] = [
    "CFLAGS",
    "CFLAGS_wasm32-wasip1",
    "CFLAGS_wasm32_wasip1",
    "FAASM_CACHE",
    "FAASM_LOCKED",
    "FAASM_OFFLINE",
    "TARGET_CFLAGS",
    "WASI_SDK_PATH",
    "XDG_CACHE_HOME",
];

/// The directory of the package whose build script this is.
pub(crate) fn package() -> Result<PathBuf> {
    env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).ok_or_else(|| Error::Lookup {
        what: "the package to build an image for".to_owned(),
        reason: "CARGO_MANIFEST_DIR is not set; is this a build script?".to_owned(),
    })
}

/// The directory of the package `py_func`, which is `package` itself or, through `links = "py_func"`, a dependency.
pub(crate) fn guest_package(package: &Path) -> Result<PathBuf> {
    match env::var_os("DEP_PY_FUNC_PACKAGE") {
        Some(path) => Ok(path.into()),
        None if env::var_os("CARGO_MANIFEST_LINKS").is_some_and(|links| links == "py_func") => {
            Ok(package.to_path_buf())
        }
        None => Err(Error::Manifest {
            path: package.join("Cargo.toml"),
            reason: "the package does not depend on `py_func`, whose guest is to be built".to_owned(),
        }),
    }
}

pub(crate) fn emit(image: &Path, watched: &[PathBuf]) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    for path in watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // When it is missing, Cargo runs the script again.
    println!("cargo::rerun-if-changed={}", image.join("manifest.json").display());
    for name in VARIABLES {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rustc-env=FAASM_IMAGE={}", image.display());
    if env::var_os("CARGO_MANIFEST_LINKS").is_some() {
        println!("cargo::metadata=image={}", image.display());
    }
}
