//! What a build script calls to get an image: toolchain, CPython for WebAssembly, its initialised memory and machine code.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), faasm_build_support::Error> {
//!     faasm_build_support::Image::from_manifest()?.build()?.emit();
//!     Ok(())
//! }
//! ```
//!
//! Nothing has to be installed for it: compilers and sources are downloaded, from where the machine's own clients (pip, apt,
//! Cargo) are told to download from, and checked against hashes in [`source::pin`]. Every step's result is kept in a
//! [cache](cache) that all builds of a user share.

pub mod cache;
pub mod command;
pub mod components;
pub mod cpython;
mod error;
mod fs_util;
pub mod hosttools;
mod image;
mod link;
pub mod packages;
pub mod progress;
mod script;
pub mod source;
pub mod toolchain;

pub use error::{Error, Result};
pub use image::{Built, Image};
pub use link::GuestSources;
pub use progress::Context;
