//! Hashing what is read and written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The digest of what was hashed, in lower-case hexadecimal.
pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 and the length of a file.
pub(crate) fn file(path: &Path) -> Result<(String, u64)> {
    let hash = || {
        let mut hashing = Hashing::new(File::open(path)?);
        io::copy(&mut hashing, &mut io::sink())?;
        Ok(hashing.finish())
    };
    hash().map_err(Error::io("read", path))
}

/// Hashes what passes through it.
pub(crate) struct Hashing<T> {
    inner: T,
    hasher: Sha256,
    len: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: Sha256::new(), len: 0 }
    }

    /// The SHA-256 and the length of what has passed.
    pub(crate) fn finish(self) -> (String, u64) {
        (hex(self.hasher), self.len)
    }

    /// What it wraps, and the SHA-256 of what has passed.
    pub(crate) fn into_parts(self) -> (T, String) {
        (self.inner, hex(self.hasher))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.add(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.add(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What is hashed is read once, from its beginning to its end.
impl<T> Seek for Hashing<T> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
