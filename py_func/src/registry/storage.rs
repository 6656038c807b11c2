//! Where a server keeps its functions.

use serde::{Deserialize, Serialize};

use super::{Registry, Result, StoredFunction};

/// The bundle whose runtime servers on a storage are to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenBundle {
    /// Where it is, for all of them.
    #[serde(rename = "bundle")]
    pub place: String,
    /// What the server that chose it was started with, if it was told what to run. Servers that are started with something else run that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
    /// Where the bundle is that servers ran before, if all of them can fetch it: what any of them goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// Where a server keeps its functions: a directory, which is a [`Registry`], or something that several servers share, such as a bucket
/// of an object store. What it has stored when a method returns is not lost any more. Methods may block.
pub trait Storage: Send + Sync {
    /// Stores a function, its source or an archive of a package. One of that name becomes an earlier version of it.
    ///
    /// # Errors
    ///
    /// When the name cannot be used, or the storage cannot be written.
    fn store(&self, user: &str, name: &str, source: &[u8]) -> Result<StoredFunction>;

    /// What is known of a function. A storage that cannot be reached may answer what it knows from before.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the storage cannot be read.
    fn function(&self, user: &str, name: &str) -> Result<StoredFunction>;

    /// The source of a function, or its archive, and of which version it is.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the storage cannot be read.
    fn source(&self, user: &str, name: &str) -> Result<(StoredFunction, Vec<u8>)>;

    /// What is known of the versions of a function: the one that is called, and those before it, the last one first.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the storage cannot be read.
    fn versions(&self, user: &str, name: &str) -> Result<Vec<StoredFunction>>;

    /// The source of a version of a function, which is named by 16 or more digits of its SHA-256.
    ///
    /// # Errors
    ///
    /// When there is no such function or version, or the storage cannot be read.
    fn source_of_version(&self, user: &str, name: &str, version: &str) -> Result<Vec<u8>>;

    /// Has an earlier version of a function be called again, as if it was uploaded now, unless that was removed meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no such function or version, or the storage cannot be written.
    fn restore(&self, user: &str, name: &str, version: &str) -> Result<StoredFunction>;

    /// Removes a function, with all its versions.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the storage cannot be written.
    fn remove(&self, user: &str, name: &str) -> Result<()>;

    /// All functions, by user and name.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    fn functions(&self) -> Result<Vec<StoredFunction>>;

    /// Whether other servers change it at any time, so that what was loaded has to be compared with it.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether this is the version of a function that is to be called, as far as is known. If it is not, [`function`](Self::function)
    /// says which one is. It is asked before every call, and answers at once.
    fn is_current(&self, _stored: &StoredFunction) -> bool {
        true
    }

    /// Has all servers that share it forget what they have loaded.
    ///
    /// # Errors
    ///
    /// When the storage cannot be written.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// A number that changes when another server has flushed it.
    fn flushes(&self) -> u64 {
        0
    }

    /// The bundle whose runtime servers are to run, if one was chosen.
    ///
    /// # Errors
    ///
    /// When the storage cannot be read.
    fn bundle(&self) -> Result<Option<ChosenBundle>> {
        Ok(None)
    }

    /// Has servers that start from now on run the runtime in a bundle, or none of it.
    ///
    /// # Errors
    ///
    /// When the storage cannot be written.
    fn choose_bundle(&self, _chosen: Option<&ChosenBundle>) -> Result<()> {
        Ok(())
    }
}

impl Storage for Registry {
    fn store(&self, user: &str, name: &str, source: &[u8]) -> Result<StoredFunction> {
        Self::store(self, user, name, source)
    }

    fn function(&self, user: &str, name: &str) -> Result<StoredFunction> {
        Self::function(self, user, name)
    }

    fn source(&self, user: &str, name: &str) -> Result<(StoredFunction, Vec<u8>)> {
        self.read_source(user, name, None)
    }

    fn versions(&self, user: &str, name: &str) -> Result<Vec<StoredFunction>> {
        Self::versions(self, user, name)
    }

    fn source_of_version(&self, user: &str, name: &str, version: &str) -> Result<Vec<u8>> {
        Self::source_of_version(self, user, name, version)
    }

    fn restore(&self, user: &str, name: &str, version: &str) -> Result<StoredFunction> {
        Self::restore(self, user, name, version)
    }

    fn remove(&self, user: &str, name: &str) -> Result<()> {
        Self::remove(self, user, name)
    }

    fn functions(&self) -> Result<Vec<StoredFunction>> {
        Self::functions(self)
    }
}
