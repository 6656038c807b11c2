//! Directories for results in the making.

use std::fs;
use std::path::{Path, PathBuf};

use super::Lock;
use crate::error::{Error, Result};

/// A directory below `tmp/`, removed when it is dropped. If its process is killed instead, the next one that
/// makes such a directory removes it.
pub(super) struct Directory {
    path: PathBuf,
    lock_file: PathBuf,
    _lock: Lock,
}

impl Directory {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let parent = root.join("tmp");
        fs::create_dir_all(&parent).map_err(Error::io("create the directory", &parent))?;
        // While this is held nobody else looks for leftovers, so none can be taken for one before its lock is
        // held.
        let _guard = Lock::exclusive(&root.join("locks").join("tmp"), || ())?;
        remove_leftovers(&parent);
        // The process id is for people; uniqueness comes from counting up.
        for number in 0_u32.. {
            let path = parent.join(format!("{}-{number}", std::process::id()));
            let lock_file = path.with_extension("lock");
            if path.exists() {
                continue;
            }
            let Some(lock) = Lock::try_exclusive(&lock_file)? else { continue };
            fs::create_dir(&path).map_err(Error::io("create the directory", &path))?;
            return Ok(Self { path, lock_file, _lock: lock });
        }
        unreachable!("a process does not have 2^32 directories in the making")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the directory to `target`, whose parent is created and where nothing may be.
    pub(super) fn persist(self, target: &Path) -> Result<()> {
        faasm_image::write_out(&self.path).map_err(Error::io("write out", &self.path))?;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        }
        fs::rename(&self.path, target).map_err(Error::io("create", target))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // After `persist` there is none. What cannot be removed now is a leftover for the next builder.
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(&self.lock_file);
    }
}

/// Removes what killed builders left in `parent`. Their children may still be writing, so failing is no
/// error: it is tried again next time.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    for path in paths.iter().filter(|path| path.extension().is_none()) {
        let lock_file = path.with_extension("lock");
        if let Ok(Some(_lock)) = Lock::try_exclusive(&lock_file)
            && fs::remove_dir_all(path).is_ok()
        {
            let _ = fs::remove_file(&lock_file);
        }
    }
}
