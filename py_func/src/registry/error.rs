//! Why the store could not be used.

use std::io;
use std::path::PathBuf;

/// Why the store could not be used. Every message continues "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The function or the image could not be loaded.
    #[error(transparent)]
    Runtime(Box<crate::Error>),

    /// A bundle could not be fetched.
    #[cfg(feature = "bundles")]
    #[error(transparent)]
    Bundle(#[from] faasm_bundle::Error),

    /// The file system refused something.
    #[error("{action} {}", path.display())]
    Io {
        /// A verb: "write", "create the directory".
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// There is no such function.
    #[error("find the function {user}/{name}: it was not uploaded")]
    NoFunction {
        /// Whose function.
        user: String,
        /// Which function.
        name: String,
    },

    /// There is no such version of a function.
    #[error("find the version {version} of the function {user}/{name}: it is not kept, or never was there")]
    NoVersion {
        /// Whose function.
        user: String,
        /// Which function.
        name: String,
        /// Which version.
        version: String,
    },

    /// A function was to have the name under which runtimes are uploaded.
    #[error("use the name `{}` for a function: it stands for the runtime", super::RUNTIME_NAME)]
    Reserved,

    /// A function was to be removed that is below the storage.
    #[cfg(feature = "bundles")]
    #[error("remove the function {user}/{name}: it was not uploaded, the server comes with it")]
    Included {
        /// Whose function.
        user: String,
        /// Which function.
        name: String,
    },

    /// A file below the storage is no function that can be called.
    #[cfg(feature = "bundles")]
    #[error("include the function {}: {reason}", path.display())]
    NotIncluded {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A file of the store is not what was written there.
    #[error("read {}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// What was sent as a runtime is none.
    #[cfg(feature = "server")]
    #[error("use it as a runtime: {reason}")]
    NoRuntime {
        /// What is wrong with it.
        reason: String,
    },

    /// The platform's directory for data could not be found.
    #[error("find a directory for the store: {reason}")]
    NoDataDirectory {
        /// What the platform answered.
        reason: String,
    },
}

impl From<crate::Error> for RegistryError {
    fn from(error: crate::Error) -> Self {
        Self::Runtime(Box::new(error))
    }
}

impl RegistryError {
    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(error) => error.hint(),
            #[cfg(feature = "bundles")]
            Self::Bundle(error) => error.hint(),
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some(format!("the disk that holds {} is full", path.display()))
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("set FAASM_HOME to a directory that can be written".to_owned())
                }
                _ => None,
            },
            Self::NoFunction { user, name } => Some(format!(
                "`cargo faasm list` shows what there is; `cargo faasm upload {user} {name} FILE` adds it"
            )),
            #[cfg(feature = "server")]
            Self::NoRuntime { .. } => Some("send a bundle, or a py_func.wasm".to_owned()),
            Self::NoVersion { .. } => Some("`cargo faasm list --versions` shows what there is".to_owned()),
            #[cfg(feature = "bundles")]
            Self::Included { user, name } => Some(format!(
                "`cargo faasm upload {user} {name} FILE` adds a version that is called in its place"
            )),
            #[cfg(feature = "bundles")]
            Self::NotIncluded { .. } => {
                Some("name a directory that has files USER/FUNCTION.py, .zip, .tar or .tar.gz".to_owned())
            }
            Self::Damaged { .. } => Some("upload it again".to_owned()),
            Self::NoDataDirectory { .. } => {
                Some("set FAASM_HOME to a directory that can be written".to_owned())
            }
            Self::Reserved => None,
        }
    }
}
