//! Runs Python functions, each call in a sandbox of its own that takes microseconds to make.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let runtime = py_func::Runtime::builder().memory_limit(256 << 20).timeout(Duration::from_secs(5)).build()?;
//! let hello = runtime.function("python", "hello").source("def faasm_main(name): return b'Hello, ' + name").load()?;
//! let result = hello.call("world").await?;
//! assert_eq!(result.output, b"Hello, world");
//! # Ok(()) }
//! ```
//!
//! A [`Runtime`] holds an image: CPython as machine code, and its memory after it was initialised. Loading a [`Function`] imports
//! its module once, in a sandbox, and keeps the memory. A [`Call`] runs on that memory, copied on write; what it has changed is given
//! its content back or dropped before the next call, so that nothing leaks from one to the other.
//!
//! With the feature `image`, which is on by default, this crate's build script builds an image from CPython's source. Without it,
//! say where one is with [`RuntimeBuilder::image`]; `faasm-build-support` makes one with packages of your choice from your
//! own build script.

mod admission;
mod call;
mod error;
mod executor;
mod function;
mod host;
mod images;
mod interpreter;
pub mod metrics;
mod package;
mod registry;
mod runtime;
mod sandbox;
#[cfg(feature = "server")]
pub mod server;
mod sources;
pub mod state;

pub use call::{Call, CallError, CallFailure, Output, Usage};
pub use error::Error;
pub use function::{Function, FunctionBuilder};
pub use interpreter::Interpreter;
pub use package::{PackageError, pack};
#[cfg(feature = "bundles")]
pub use registry::{Bucket, Fetch, Fetched, Layered};
pub use registry::{
    ChosenBundle, RUNTIME_NAME, Registry, RegistryError, Storage, StoredFunction, StoredRuntime,
};
pub use runtime::{Runtime, RuntimeBuilder};
pub use sources::{GUEST_SOURCES, PYTHON_SOURCES};
