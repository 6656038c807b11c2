//! What can go wrong with bundles.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate. Its text continues "failed to …"; [`hint`](Error::hint) says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// A verb: "write", "create the directory".
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A bundle is not what it should be: cut short, changed, or made to do harm.
    #[error("read the bundle {}: {reason}", path.display())]
    Damaged {
        /// The bundle.
        path: PathBuf,
        /// What is wrong, and with which of its files.
        reason: String,
    },
    /// A bundle has another format than this version of the crate reads and writes.
    #[error("read the bundle {}: it has format {found}, and this program reads format {}", path.display(), crate::FORMAT)]
    Format {
        /// The bundle.
        path: PathBuf,
        /// The format it has.
        found: u64,
    },
    /// Something cannot be put into a bundle.
    #[error("put {name:?} into a bundle: {reason}")]
    Content {
        /// What.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The image in a bundle, or one that is to be put into a bundle, cannot be used.
    #[error("use the image of the bundle")]
    Image(#[from] faasm_image::Error),
    /// A key cannot be read.
    #[error("read the key {name}: {reason}")]
    Key {
        /// The file with the key, or what was given in its place.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bundle was to be signed by a key that is trusted, and is not.
    #[error("verify the signature of {bundle}: {reason}")]
    Signature {
        /// The bundle.
        bundle: String,
        /// Why it cannot be trusted.
        reason: String,
    },
    /// A place cannot be understood.
    #[error("use {location:?} as a place of bundles: {reason}")]
    Location {
        /// What was given, without credentials.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is something else by that name already.
    #[error("publish {location}: another bundle was published by this name")]
    Published {
        /// The name.
        location: String,
    },
    /// An object store, or the way to it, failed.
    #[error("{action} {location}: {reason}")]
    Store {
        /// A verb: "download", "upload".
        action: &'static str,
        /// The object, without credentials.
        location: String,
        /// What the store answered.
        reason: String,
        /// What can be done about it.
        hint: Option<&'static str>,
    },
    /// What arrived, or is there after an upload, is not what was sent.
    #[error("verify {location}: its SHA-256 is {found} and should be {expected}")]
    Digest {
        /// The object.
        location: String,
        /// Hash of what should be there.
        expected: String,
        /// Hash of what is there.
        found: String,
    },
}

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the user can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                    "the disk that holds {} is full; free some space, and run the command again",
                    path.display()
                )),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("set FAASM_HOME to a directory that can be written".to_owned())
                }
                _ => None,
            },
            Self::Damaged { .. } | Self::Digest { .. } => Some("fetch or copy it again".to_owned()),
            Self::Format { .. } => Some("use the version of cargo-faasm that made it".to_owned()),
            Self::Signature { .. } => Some(
                "a bundle is signed by `cargo faasm package --sign KEY`, and its signature is beside it, with the same name \
                 and `.minisig`"
                    .to_owned(),
            ),
            Self::Published { .. } => Some(
                "give it another version with `--version`, or replace what is there with `--overwrite`".to_owned(),
            ),
            Self::Image(error) => error.hint().map(str::to_owned),
            Self::Store { hint, .. } => hint.map(str::to_owned),
            Self::Location { .. } => Some(
                "it may be a path, or a URL that begins with file://, s3://, gs://, az:// or, to fetch from, https://"
                    .to_owned(),
            ),
            Self::Content { .. } | Self::Key { .. } => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_path_buf(), reason: reason.into() }
    }
}
