//! Files as images need them: complete or not there, and hashed.

use std::{
    fs::{File, Permissions},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// Creates or replaces `path` with what `fill` writes. Nobody ever sees half a file, and an open or mapped older file
/// keeps its content, since the name moves to the new file in one step.
pub(crate) fn write_atomically(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    write_unsynced(path, |file| {
        fill(file)?;
        file.sync_all()
    })
}

/// As [`write_atomically`], but when the machine stops soon after, the file may be cut short. For files that show it.
pub(crate) fn write_unsynced(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let write = || {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A temporary file is private by default; an image is as readable as any other build product.
        let permissions = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(dir)?;
        fill(file.as_file_mut())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(Error::io("write", path))
}

/// Writes a directory's content out to the disk, so that a rename which survives a power failure has something to point at. One call
/// for the whole file system is faster than one for each of a thousand files.
///
/// # Errors
///
/// When the directory cannot be opened, or the disk fails.
pub fn write_out(directory: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::fs::syncfs(File::open(directory)?)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = directory;
        rustix::fs::sync();
        Ok(())
    }
}

/// The SHA-256 of a file in lower-case hexadecimal, and the file's length in bytes.
pub(crate) fn digest(path: &Path) -> Result<(String, u64)> {
    let hash = || {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut block = vec![0; 64 << 10];
        let mut len = 0;
        loop {
            let read = match file.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Ok((hex(hasher), len));
            }
            hasher.update(&block[..read]);
            len += read as u64;
        }
    };
    hash().map_err(Error::io("read", path))
}

/// The digest of what was hashed, in lower-case hexadecimal.
pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
