//! The contract between building and running: an *image* is the machine code of a WebAssembly guest, the memory of
//! that guest after it was initialised, and a manifest which says what both were made from.
//!
//! One compiled module serves every memory. The module is stripped of its data segments before it is compiled, so an
//! instance has no content of its own; what it starts with is whichever [`MemoryImage`] is mapped, copy-on-write, as
//! its linear memory. Making another image therefore never compiles anything: restore one, call into the guest,
//! [capture](Guest::capture) the memory.
//!
//! ```no_run
//! # use faasm_image::{Image, Limits, Program};
//! let image = Image::open("target/faasm".as_ref())?;
//! let program = Program::new(&image.load_code()?, |_linker| Ok(()))?;
//! let memory = image.base()?;
//! let mut guest = program.instantiate(&memory, Limits { memory: 256 << 20, deadline: None, interrupt: None }, ())?;
//! # async {
//! let status: i32 = guest.call("run", (1_i32,)).await?;
//! # Ok::<(), faasm_image::Fault>(()) };
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Nothing outside the module `code` depends on which compiler made the machine code or on how a guest is entered.

mod code;
mod deadline;
mod engine;
mod error;
mod file;
mod manifest;
mod memory;
mod snapshot;
mod target;
mod thread;

pub mod host;

pub use code::{Code, Fault, Guest, Limits, Program, Spent, Stopper, compile};
pub use deadline::Interrupt;
pub use engine::{ENGINE_VERSION, fingerprint};
pub use error::Error;
pub use file::write_out;
pub use manifest::{CodeEntry, FORMAT, FileEntry, Image, Manifest};
pub use memory::MemoryImage;
pub use snapshot::{boot_memory, save_boot_memory};
pub use target::{host_target, target_level};

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
