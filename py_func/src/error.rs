//! Why there is no runtime, or no function.

use crate::call::CallFailure;
use crate::package::PackageError;

/// Why a runtime could not be made or a function not be loaded. Every message continues "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image was named, and this crate was built without one.
    #[error(
        "find an image: this program was built without the feature `image` of py_func, and none was named"
    )]
    NoImage,

    /// The image cannot be used.
    #[error("open the image")]
    Image(#[from] faasm_image::Error),

    /// The directory for images of functions cannot be used.
    #[error("keep images of functions in {}", directory.display())]
    Images {
        /// The directory.
        directory: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },

    /// A guest offers another host interface than the one this crate has.
    #[error("use the image: it speaks version {guest} of the host interface and this program version {host}")]
    Interface {
        /// The guest's version.
        guest: u32,
        /// Ours.
        host: u32,
    },

    /// The name of a user or function cannot be used.
    #[error(
        "use the name {name:?}: it must be 1 to 64 of the characters A-Z a-z 0-9 _ - . and not begin with a dot"
    )]
    Name {
        /// The name.
        name: String,
    },

    /// A function was to be loaded without source.
    #[error("load {user}/{function}: no source was given")]
    NoSource {
        /// Whose function.
        user: String,
        /// Which function.
        function: String,
    },

    /// The folder or archive that was given as a function cannot be one.
    #[error("load {user}/{function}")]
    Package {
        /// Whose function.
        user: String,
        /// Which function.
        function: String,
        /// What is wrong with it.
        source: PackageError,
    },

    /// The function's module could not be imported.
    #[error("load {user}/{function}")]
    Load {
        /// Whose function.
        user: String,
        /// Which function.
        function: String,
        /// What happened, and what the module printed before.
        source: CallFailure,
    },

    /// This crate has a fault, which it reported on standard error.
    #[error("load the function: the host panicked")]
    Stopped,

    /// A thread could not be started.
    #[error("start a thread")]
    Thread(#[from] std::io::Error),
}

impl Error {
    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoImage => Some("run `cargo faasm build`, or pass the directory of an image".to_owned()),
            Self::Image(error) => error.hint().map(ToOwned::to_owned),
            Self::Interface { .. } => {
                Some("run `cargo faasm build` again with the current version".to_owned())
            }
            Self::Load { source, .. } => source.error.hint(),
            Self::Package { source, .. } => source.hint(),
            Self::Images { .. }
            | Self::Name { .. }
            | Self::NoSource { .. }
            | Self::Stopped
            | Self::Thread(_) => None,
        }
    }
}
