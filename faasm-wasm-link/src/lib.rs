//! What linking extension modules statically into WebAssembly needs besides a linker.
//!
//! On other systems each extension module of a Python package is a shared library: its symbols are its own, and a function may be
//! called through a pointer of a type that is not quite its own. Linked into one WebAssembly module, equal names collide and such
//! calls trap. [`object`] makes symbols private before the link, [`repair`] mends calls after it.
//!
//! Knows the formats of WebAssembly and the layout of CPython's structures, and nothing of files, builds or engines.

mod error;
pub mod object;
pub mod repair;

pub use error::{Error, Result};
