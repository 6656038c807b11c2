//! What a cache entry is made from.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The inputs of a cache entry, in order, as names with values. Two keys are the same if all of it is.
#[derive(Clone, Debug, Default)]
pub struct Key {
    inputs: Vec<(String, String)>,
}

impl Key {
    /// A key without inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value: a version, a flag, another key's [`hex`](Self::hex).
    #[must_use]
    pub fn value(mut self, name: &str, value: impl Into<String>) -> Self {
        self.inputs.push((name.to_owned(), value.into()));
        self
    }

    /// Adds content, such as a file that is embedded in this crate, by its hash.
    #[must_use]
    pub fn content(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.value(name, format!("sha256:{}", hex(&Sha256::digest(content))))
    }

    /// Adds the content of a file by its hash; neither the file's place nor its times matter.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn file(self, name: &str, path: &Path) -> Result<Self> {
        let digest = hash_file(path).map_err(Error::io("read", path))?;
        Ok(self.value(name, format!("sha256:{digest}")))
    }

    /// The SHA-256 of all inputs, in hexadecimal.
    pub fn hex(&self) -> String {
        let mut hasher = Sha256::new();
        for (name, value) in &self.inputs {
            // With their lengths in front, no two lists of inputs are the same bytes.
            for part in [name, value] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        hex(&hasher.finalize())
    }

    pub(super) fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(16);
        hex
    }

    pub(super) fn to_json(&self) -> String {
        let inputs: Vec<_> =
            self.inputs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        format!("{:#}\n", json!({ "sha256": self.hex(), "inputs": inputs }))
    }
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut io::BufReader::with_capacity(1 << 16, File::open(path)?), &mut HashWriter(&mut hasher))?;
    Ok(hex(&hasher.finalize()))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lets `io::copy` hash, whether or not the hash crate implements `io::Write`.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_when_any_input_does() {
        let keys = [
            Key::new(),
            Key::new().value("a", "bc"),
            Key::new().value("ab", "c"),
            Key::new().value("", "abc"),
            Key::new().value("a", "b").value("c", ""),
            Key::new().value("a", "b").value("", "c"),
            Key::new().value("x", "1").value("y", "2"),
            Key::new().value("y", "2").value("x", "1"),
            Key::new().value("f", "content"),
            Key::new().content("f", "content"),
        ];
        let distinct: std::collections::BTreeSet<String> = keys.iter().map(Key::hex).collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(Key::new().value("a", "b").hex(), Key::new().value("a", "b").hex());
    }

    #[test]
    fn a_file_counts_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        std::fs::write(&one, "content").unwrap();
        std::fs::write(&two, "content").unwrap();
        let key = |path: &Path| Key::new().file("f", path).unwrap().hex();
        assert_eq!(key(&one), key(&two));
        assert_eq!(key(&one), Key::new().content("f", "content").hex());
        std::fs::write(&two, "other").unwrap();
        assert_ne!(key(&one), key(&two));
    }
}
