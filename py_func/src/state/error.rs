//! Why an operation on state failed.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{MAX_KEY, MAX_VALUE};

/// Why an operation on state failed. Every message continues "failed to …".
///
/// It can be cloned, because writes that are stored together fail together.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of a user cannot be used.
    #[error(
        "use the name {name:?}: it must be 1 to 64 of the characters A-Z a-z 0-9 _ - . and not begin with a dot"
    )]
    User {
        /// The name.
        name: String,
    },

    /// A key is too long, or empty.
    #[error("use a state key of {length} bytes: it must have 1 to {MAX_KEY}")]
    Key {
        /// The length of the key, in bytes.
        length: usize,
    },

    /// There is no such value in either tier.
    #[error("find the state value {key:?} of {user}: it was never written, or it was deleted")]
    NoValue {
        /// Whose value.
        user: String,
        /// Which value.
        key: String,
    },

    /// A value was to be written with another size than it has.
    #[error(
        "write {given} bytes as the state value {key:?} of {user}: its size is {size}, and only resizing changes that"
    )]
    SizeFixed {
        /// Whose value.
        user: String,
        /// Which value.
        key: String,
        /// The size it has, in bytes.
        size: u64,
        /// The size that was to be written, in bytes.
        given: u64,
    },

    /// A part that was to be written reaches beyond the end of the value.
    #[error("write {length} bytes at {offset} of the state value {key:?} of {user}: it ends at {size}")]
    OutOfRange {
        /// Whose value.
        user: String,
        /// Which value.
        key: String,
        /// Where the part begins.
        offset: u64,
        /// The length of the part, in bytes.
        length: u64,
        /// The size of the value, in bytes.
        size: u64,
    },

    /// A value or an entry of a log is larger than any may be.
    #[error(
        "store {size} bytes below the state key {key:?} of {user}: at most {MAX_VALUE} can be stored as one"
    )]
    TooLarge {
        /// Whose value.
        user: String,
        /// Which value.
        key: String,
        /// Its size, in bytes.
        size: u64,
    },

    /// A user would hold more than the quota.
    #[error("keep {needed} bytes of state for {user}: the quota is {quota}")]
    Quota {
        /// Whose quota.
        user: String,
        /// The quota, in bytes.
        quota: u64,
        /// What would be held with the write that was refused, in bytes.
        needed: u64,
    },

    /// Unpushed values of all users fill the local tier.
    #[error(
        "keep a state value of {user} in memory: values that were not pushed fill the {limit} bytes there are"
    )]
    LocalFull {
        /// Whose value was refused.
        user: String,
        /// The limit, in bytes.
        limit: u64,
    },

    /// The global value became shorter, or was deleted, while parts of it were still to be fetched.
    #[error(
        "read the state value {key:?} of {user}: another host made it shorter or deleted it; pull it to see its new content"
    )]
    Changed {
        /// Whose value.
        user: String,
        /// Which value.
        key: String,
    },

    /// Another process uses the directory.
    #[error("open the state in {}: another process uses it", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },

    /// A file is not what was written there.
    #[error("read the state in {}: it is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The file system refused something.
    #[error("{action} {}", path.display())]
    Io {
        /// A verb: "write", "create the directory".
        action: &'static str,
        /// What it was about.
        path: PathBuf,
        /// What the system answered.
        source: Arc<io::Error>,
    },

    /// The global tier failed for a reason of its own.
    #[error("use the global state in {place}")]
    Global {
        /// Which global tier it is: a path, an address.
        place: String,
        /// What it answered.
        source: Arc<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SizeFixed { .. } => Some("resize the value, or delete it first".to_owned()),
            Self::Quota { .. } => Some("delete values or clear logs, or raise the quota".to_owned()),
            Self::LocalFull { .. } => Some("push values, or raise the limit of local state".to_owned()),
            Self::InUse { .. } => Some("end the other process, or use another directory".to_owned()),
            Self::Damaged { path, .. } => {
                Some(format!("restore {} from a backup, or move it away to start empty", path.display()))
            }
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some(format!("the disk that holds {} is full", path.display()))
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source: Arc::new(source) }
    }
}
