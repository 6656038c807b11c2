//! Files of the store: written in one step, read if they are there, guarded by one lock.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{RegistryError, Result};

/// What names of files in the making start with.
const TEMPORARY: &str = ".new-";

/// The lock of a store, which the system gives back when its holder dies.
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl Lock {
    /// Waits until nobody writes. There is no lock in a directory that nobody ever wrote to.
    pub(super) fn shared(root: &Path) -> Result<Option<Self>> {
        let path = root.join("lock");
        // Opened for reading only, so that a store which this user cannot write can be read.
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io("open", &path))?,
        };
        file.lock_shared().map_err(io("lock", &path))?;
        Ok(Some(Self(file)))
    }

    /// Waits until nobody reads or writes.
    pub(super) fn exclusive(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(io("create the directory", root))?;
        let path = root.join("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(io("open", &path))?;
        file.lock().map_err(io("lock", &path))?;
        Ok(Self(file))
    }
}

/// Creates or replaces a file in one step.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        let permissions = Permissions::from_mode(0o666);
        let mut file =
            tempfile::Builder::new().prefix(TEMPORARY).permissions(permissions).tempfile_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // Renaming is not for good before the directory is.
        File::open(directory)?.sync_all()
    };
    write().map_err(io("write", path))
}

/// Makes it last what was created, renamed or removed in a directory.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|it| it.sync_all()).map_err(io("sync", directory))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| io("write", path)(error.into()))?;
    text.push(b'\n');
    write(path, &text)
}

/// What a file says, if there is one.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.map_err(io("read", path))?,
    };
    let damaged = |error: serde_json::Error| RegistryError::Damaged {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

/// The names in a directory, sorted, without those that start with a dot or are not UTF-8, which none of the store's does. There
/// are none in what is no directory.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let names = all_names(directory)?.into_iter().filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

/// Removes what is in a directory, except files of these names.
pub(super) fn remove_others(directory: &Path, kept: &[&str]) -> Result<()> {
    remove(directory, |name| !kept.iter().any(|kept| *kept == name))
}

/// Removes what writers that were killed left in a directory.
pub(super) fn remove_temporary(directory: &Path) -> Result<()> {
    remove(directory, |name| name.to_string_lossy().starts_with(TEMPORARY))
}

fn remove(directory: &Path, unwanted: impl Fn(&OsStr) -> bool) -> Result<()> {
    for name in all_names(directory)?.iter().filter(|name| unwanted(name)) {
        let path = directory.join(name);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(io("remove", &path))?;
    }
    Ok(())
}

fn all_names(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.map_err(io("read the directory", directory))?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>();
    names.map_err(io("read the directory", directory))
}

/// A directory in the making, removed unless it is kept.
pub(super) fn temporary_directory(directory: &Path) -> Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    let new = builder.prefix(TEMPORARY).permissions(Permissions::from_mode(0o777)).tempdir_in(directory);
    new.map_err(io("create a directory in", directory))
}

/// Copies a tree into the directory `to`, with hard links where the file system allows them.
pub(super) fn link_tree(from: &Path, to: &Path) -> Result<()> {
    for name in all_names(from)? {
        let (source, target) = (from.join(&name), to.join(&name));
        let kind = fs::symlink_metadata(&source).map_err(io("read", &source))?.file_type();
        if kind.is_dir() {
            fs::create_dir(&target).map_err(io("create the directory", &target))?;
            link_tree(&source, &target)?;
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).map_err(io("copy", &source))?;
        }
    }
    Ok(())
}

pub(super) fn io(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> RegistryError {
    let path = path.into();
    move |source| RegistryError::Io { action, path, source }
}
