//! What is in the cache, and removing it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{Cache, Lock, USED_FILE};
use crate::error::{Error, Result};

/// Directories below the root that hold no entries.
const INTERNAL: [&str; 2] = ["locks", "tmp"];

/// One thing in the cache.
#[derive(Clone, Debug, Serialize)]
pub struct EntryUsage {
    /// The kind of entry, which is also the directory it is in; "downloads" and "logs" hold files.
    pub kind: String,
    /// The entry's name with the start of its key's hash.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last used.
    pub last_used: SystemTime,
}

impl Cache {
    /// Everything in the cache, by kind and name.
    ///
    /// # Errors
    ///
    /// When the cache cannot be read. A cache that does not exist is empty.
    pub fn usage(&self) -> Result<Vec<EntryUsage>> {
        let mut usage = Vec::new();
        for kind in children(self.root())? {
            let kind_name = name(&kind);
            if INTERNAL.contains(&kind_name.as_str()) || !kind.is_dir() {
                continue;
            }
            for path in children(&kind)? {
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let stamp = fs::metadata(path.join(USED_FILE)).and_then(|it| it.modified());
                let last_used =
                    stamp.or_else(|_| metadata.modified()).map_err(Error::io("read the time of", &path))?;
                usage.push(EntryUsage {
                    kind: kind_name.clone(),
                    name: name(&path),
                    // An entry that another process removes meanwhile has no size.
                    bytes: size(&path).unwrap_or(0),
                    path,
                    last_used,
                });
            }
        }
        usage.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        Ok(usage)
    }

    /// Removes what has not been used for `older_than`, except what a process uses now, and answers what it
    /// removed.
    ///
    /// # Errors
    ///
    /// When the cache cannot be read or something cannot be removed.
    pub fn remove_unused(&self, older_than: Duration) -> Result<Vec<EntryUsage>> {
        // A time in the future counts as now.
        self.remove(|entry| entry.last_used.elapsed().unwrap_or_default() >= older_than)
    }

    /// Removes everything except what a process uses now, and answers what it removed.
    ///
    /// # Errors
    ///
    /// When the cache cannot be read or something cannot be removed.
    pub fn remove_all(&self) -> Result<Vec<EntryUsage>> {
        self.remove(|_| true)
    }

    fn remove(&self, unwanted: impl Fn(&EntryUsage) -> bool) -> Result<Vec<EntryUsage>> {
        let mut removed = Vec::new();
        for entry in self.usage()?.into_iter().filter(unwanted) {
            let lock_file = self.lock_file(&self.id(&entry.path), "use");
            let Some(_unused) = Lock::try_exclusive(&lock_file)? else { continue };
            if entry.path.is_dir() {
                // Renamed first, so that being killed here does not leave half an entry under its name.
                // Making a temporary directory also removes what killed processes left.
                let temporary = super::temporary::Directory::new(self.root())?;
                let doomed = temporary.path().join("entry");
                fs::rename(&entry.path, &doomed).map_err(Error::io("remove", &entry.path))?;
                fs::remove_dir_all(&doomed).map_err(Error::io("remove", &doomed))?;
            } else {
                fs::remove_file(&entry.path).map_err(Error::io("remove", &entry.path))?;
            }
            removed.push(entry);
        }
        Ok(removed)
    }
}

/// The visible content of a directory; none if there is no such directory.
fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read the directory", directory))?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let mut paths = paths.map_err(Error::io("read the directory", directory))?;
    paths.retain(|path| !name(path).starts_with('.'));
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn size(path: &Path) -> io::Result<u64> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
