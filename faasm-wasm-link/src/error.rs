//! The one error type of this crate.

/// What a function of this crate answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an object or module could not be changed. Every message is a fragment that continues "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no WebAssembly, or damaged.
    #[error("read the WebAssembly")]
    Malformed(#[from] wasmparser::BinaryReaderError),

    /// It is WebAssembly, but not what was expected.
    #[error("use the WebAssembly: {0}")]
    Unsuitable(String),

    /// Something in it could not be written again.
    #[error("write the WebAssembly: {0}")]
    Encoding(String),
}
