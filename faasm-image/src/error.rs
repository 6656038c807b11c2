//! What can go wrong while images are made, checked and opened. What can go wrong in a guest is a
//! [`Fault`](crate::Fault).

use std::{io, path::PathBuf};

/// An error of this crate. Its text fits behind "failed to"; [`hint`](Error::hint) says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no manifest where an image was looked for.
    #[error("find an image in {}: there is no manifest.json", dir.display())]
    NoImage {
        /// The directory.
        dir: PathBuf,
    },
    /// The manifest is not what [`Manifest::write`](crate::Manifest::write) writes.
    #[error("read the manifest {}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// The manifest has another format than this version of the crate reads and writes.
    #[error("open the image {}: it has format {found}, and this program reads format {}", dir.display(), crate::FORMAT)]
    Format {
        /// The image.
        dir: PathBuf,
        /// The format it has.
        found: u64,
    },
    /// The manifest names a file outside the image's directory.
    #[error("open the image {}: its manifest names {file:?}, which is not a plain file name", dir.display())]
    FileName {
        /// The image.
        dir: PathBuf,
        /// The offending name.
        file: String,
    },
    /// A file of the image has another length than the manifest says, usually because a copy was cut short.
    #[error("open {}: it has {found} bytes where the manifest says {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes according to the manifest.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A file of the image has another content than the manifest says.
    #[error("verify {}: its SHA-256 is {found} where the manifest says {expected}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// Hash according to the manifest.
        expected: String,
        /// Hash of what is there.
        found: String,
    },
    /// The machine code was made for another engine, platform or configuration.
    #[error("open the image {}: its machine code is for {what} {found}, and this program runs {expected}", dir.display())]
    Incompatible {
        /// The image.
        dir: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the image has.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// The engine refused machine code: another engine version or configuration, a processor without a feature the
    /// code uses, or not machine code at all.
    #[error("load the machine code {}, which this engine or processor cannot run", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the engine says.
        source: wasmtime::Error,
    },
    /// The engine cannot be set up on this platform or for this target.
    #[error("set up the engine for {target}")]
    Engine {
        /// The target.
        target: String,
        /// What the engine says.
        source: wasmtime::Error,
    },
    /// The bytes are not a WebAssembly module.
    #[error("parse the WebAssembly module")]
    Parse(#[from] wasmparser::BinaryReaderError),
    /// The module has state that an image of its memory would lose, or lacks what an image needs.
    #[error("use the WebAssembly module as a guest: {0}")]
    Unsuitable(String),
    /// The compiler refused the module.
    #[error("compile the WebAssembly module")]
    Compile(#[source] wasmtime::Error),
    /// The host's functions do not satisfy the module's imports.
    #[error("link the guest with the host's functions")]
    Link(#[source] wasmtime::Error),
    /// A memory image has a size that no WebAssembly memory has.
    #[error("use a memory image of {size} bytes: it is not a multiple of 64 KiB between 64 KiB and 4 GiB")]
    MemorySize {
        /// The size.
        size: u64,
    },
    /// A file is not the memory image that was looked for.
    #[error("open the memory image {}: {reason}", path.display())]
    Difference {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The operating system refused memory for an image.
    #[error("hold a memory image in memory")]
    Memory(#[source] io::Error),
    /// The host's side of a sandbox, such as the directories a guest is to see, could not be set up.
    #[error("set up the host's side of a sandbox")]
    Host(#[source] wasmtime::Error),
    /// A sandbox may not even have the memory it starts with.
    #[error("start a sandbox: its memory takes {image} bytes from the start, and the limit is {limit}")]
    MemoryLimit {
        /// The size of the image, in bytes.
        image: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// No sandbox could be made.
    #[error("start a sandbox")]
    Instantiate(#[source] wasmtime::Error),
    /// The thread which watches deadlines could not be started.
    #[error("start the thread that watches deadlines")]
    Deadline(#[source] io::Error),
    /// A call into the guest did not return, or was interrupted.
    #[error("capture the guest's memory: a call was cut short")]
    CutShort,
    /// The guest is not at rest, so that its memory alone does not describe it.
    #[error(
        "capture the guest's memory: {global} is {found:#x} where it started as {initial:#x}: a call has not returned"
    )]
    NotAtRest {
        /// The exported global that moved; for C guests, the stack pointer.
        global: String,
        /// Its bits in a fresh instance.
        initial: u64,
        /// Its bits now.
        found: u64,
    },
}

impl From<wasmtime::Error> for Error {
    fn from(source: wasmtime::Error) -> Error {
        Error::Host(source)
    }
}

impl Error {
    /// What the user can do about it, if something helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::NoImage { .. } => Some("run `cargo faasm build`"),
            Error::Manifest { .. }
            | Error::Format { .. }
            | Error::FileName { .. }
            | Error::Length { .. }
            | Error::Digest { .. }
            | Error::Incompatible { .. }
            | Error::Load { .. } => Some("run `cargo faasm build` again"),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("run `cargo faasm build` again")
            }
            _ => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}
