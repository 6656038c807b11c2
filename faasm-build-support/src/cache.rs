//! The content-addressed cache of build results, shared by every build of a user.
//!
//! Layout below the root:
//!
//! ```text
//! <kind>/<name>-<16 hex>/   a finished result; `.key.json` says what it was made from, `.used` is touched at each use
//! downloads/                 downloaded files, each named by its hash
//! logs/                      what build commands printed
//! tmp/                       results in the making, each beside a lock file that is held while its builder lives
//! locks/                     lock files; they are empty and never removed, because removing one would race
//! ```
//!
//! A result is made below `tmp/` and renamed, so whatever is found under its final name is whole.

mod key;
mod lock;
mod maintenance;
mod temporary;

pub use key::Key;
pub(crate) use key::{hash_file, hex};
pub(crate) use lock::Lock;
pub use maintenance::EntryUsage;

use std::collections::btree_map::{BTreeMap, Entry};
use std::env;
use std::fs::{self, File};
use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::{Error, Result};

const KEY_FILE: &str = ".key.json";
const USED_FILE: &str = ".used";

/// The cache's own files in every entry, which are no part of what was made.
pub(crate) const OWN_FILES: [&str; 2] = [KEY_FILE, USED_FILE];

/// A cache directory. Cheap to clone.
///
/// Every entry it has answered is held in use until the last clone is dropped, so that no other process
/// removes it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    in_use: Arc<Mutex<BTreeMap<String, Lock>>>,
}

impl Cache {
    /// The cache below `root`, which must be an absolute path and need not exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root, in_use: Arc::default() }
    }

    /// The cache in `FAASM_CACHE`, else in `faasm` below the platform's directory for caches.
    ///
    /// # Errors
    ///
    /// When `FAASM_CACHE` is relative, which would be another directory for each build script, or it is not
    /// set and there is no home directory.
    pub fn from_env() -> Result<Self> {
        use etcetera::BaseStrategy as _;

        if let Some(root) = env::var_os("FAASM_CACHE").filter(|it| !it.is_empty()).map(PathBuf::from) {
            if root.is_relative() {
                let value = root.display().to_string();
                let reason =
                    "it must be an absolute path, because build scripts run in directories of their own";
                return Err(Error::Variable { name: "FAASM_CACHE", value, reason });
            }
            return Ok(Self::new(root));
        }
        let platform = etcetera::choose_base_strategy()
            .map_err(|error| Error::NoCacheDirectory { reason: error.to_string() })?;
        Ok(Self::new(platform.cache_dir().join("faasm")))
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the entry `kind`/`name` with `key` is or will be, for builds that write their final place into
    /// their result.
    pub fn path(&self, kind: &str, name: &str, key: &Key) -> PathBuf {
        self.root.join(file_name(kind)).join(format!("{}-{}", file_name(name), key.short()))
    }

    /// The directory of the entry `kind`/`name` with `key`. If it is not there, `build` makes its content in
    /// an empty directory on the same file system, which then becomes the entry.
    ///
    /// Of several threads and processes that want the same entry one builds and the others wait; each calls
    /// `waiting` once before it does. When `build` fails, or its process is killed, there is no entry.
    ///
    /// # Errors
    ///
    /// Those of `build`, and when the cache cannot be written.
    pub fn entry(
        &self,
        kind: &str,
        name: &str,
        key: &Key,
        waiting: impl FnOnce(),
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path(kind, name, key);
        self.hold(&path)?;
        if path.is_dir() {
            touch(&path.join(USED_FILE));
            return Ok(path);
        }

        let _building = self.lock_for_building(&path, waiting)?;
        if path.is_dir() {
            return Ok(path);
        }
        let temporary = temporary::Directory::new(&self.root)?;
        build(temporary.path())?;
        write(&temporary.path().join(KEY_FILE), &key.to_json())?;
        write(&temporary.path().join(USED_FILE), "")?;
        temporary.persist(&path)?;
        Ok(path)
    }

    /// Keeps other processes from removing the entry at `path`, which need not be there yet.
    pub(crate) fn hold(&self, path: &Path) -> Result<()> {
        let id = self.id(path);
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Vacant(unheld) = in_use.entry(id) {
            match Lock::shared(&self.lock_file(unheld.key(), "use")) {
                Ok(lock) => {
                    unheld.insert(lock);
                }
                // What is in a cache that cannot be written can be used, and is not removed.
                Err(Error::Io { source, .. })
                    if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until nobody else makes the entry at `path`.
    pub(crate) fn lock_for_building(&self, path: &Path, waiting: impl FnOnce()) -> Result<Lock> {
        Lock::exclusive(&self.lock_file(&self.id(path), "build"), waiting)
    }

    fn id(&self, path: &Path) -> String {
        file_name(&path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy())
    }

    fn lock_file(&self, id: &str, purpose: &str) -> PathBuf {
        self.root.join("locks").join(format!("{id}.{purpose}"))
    }
}

/// `text` as a file name: everything but letters, digits and `._+-` becomes `_`.
pub(crate) fn file_name(text: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let name: String = text.chars().map(|c| if kept(c) { c } else { '_' }).collect();
    if name.starts_with('.') { format!("_{name}") } else { name }
}

/// Notes that the file was used now. A cache that is shared read-only cannot be told, which does not matter.
pub(crate) fn touch(path: &Path) {
    if let Ok(file) = File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests;
