//! CPython, built twice from one source: natively, to build and byte-compile with, and for WebAssembly.

mod ctypes;
mod libraries;
mod native;
mod stdlib;
mod wasm;
mod zlib;

pub(crate) use ctypes::{MODULE as CTYPES, ctypes};
pub use native::{Native, native};
pub use stdlib::{Stdlib, stdlib};
pub(crate) use stdlib::{byte_compile, library_path};
pub(crate) use wasm::SYSCONFIG_DATA;
pub use wasm::{Wasm, wasm};
pub(crate) use zlib::zlib;

use std::path::PathBuf;

use crate::cache::Key;
use crate::error::Result;
use crate::progress::Context;
use crate::source;

/// The version of Python, everywhere: what runs in the sandbox and what runs on the machine are the same.
pub const VERSION: &str = "3.13.5";

/// When that was released, in seconds since 1970. `sys.version` says it in the place of the time of the build, so that the
/// same inputs make the same interpreter.
pub(crate) const RELEASED: &str = "1749600000";

/// The `X.Y` in names of files and directories.
pub const SHORT_VERSION: &str = "3.13";

/// The unpacked source, and its part of keys. It is shared by builds, which therefore happen elsewhere and must not have
/// Python write byte code into it.
pub(crate) fn source(cx: &Context) -> Result<(PathBuf, Key)> {
    let pin = &source::pin::CPYTHON;
    let key = Key::new().value("sha256", pin.sha256);
    let directory = cx.entry("source", &format!("cpython-{VERSION}"), &key, |directory| {
        source::unpack(&source::fetch(cx, pin)?, directory)
    })?;
    Ok((directory.join(format!("Python-{VERSION}")), key))
}
