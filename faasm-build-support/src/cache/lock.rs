//! Advisory file locks, which the system gives back when their holder dies.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};

/// A lock on a file, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl Lock {
    /// Waits for a lock that others can hold at the same time.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open(path)?;
        file.lock_shared().map_err(Error::io("lock", path))?;
        Ok(Self(file))
    }

    /// Waits for a lock that nobody else can hold, after calling `waiting` if somebody does.
    pub(crate) fn exclusive(path: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock().map_err(Error::io("lock", path))?;
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
        }
        Ok(Self(file))
    }

    /// A lock that nobody else can hold, or nothing if somebody does.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", path)(source)),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
    }
    File::options().create(true).append(true).open(path).map_err(Error::io("open the lock file", path))
}
