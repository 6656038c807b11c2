//! Images of functions on disk, so that what was imported once need not be again when the program is started anew.
//!
//! A directory with a file for each: what differs from the base image, named by the hash of all that the import saw. A file that is
//! damaged, or cannot be written, costs an import.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use faasm_image::{Image, MemoryImage};
use sha2::{Digest as _, Sha256};

/// To be raised when images mean something else than before although the base image is the same.
const VERSION: &str = "1";

/// Files that nobody has used for so long are removed.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub(crate) struct Images {
    directory: PathBuf,
    /// What all keys begin with.
    common: Sha256,
}

/// The name of an image.
pub(crate) type ImageKey = [u8; 32];

impl Images {
    /// Those in `directory`, which is made if need be, of functions that are loaded on `base`. `options` are all else that imports can
    /// see.
    pub(crate) fn new<'a>(
        directory: &Path,
        base: &'a Image,
        options: impl Iterator<Item = &'a str>,
    ) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        remove_unused(directory, SystemTime::now())?;
        let manifest = base.manifest();
        let mut common = Sha256::new();
        // The base fits the code, but other code may do other things when it goes on from there.
        for part in [VERSION, &manifest.base.sha256, &manifest.wasm.sha256].into_iter().chain(options) {
            add(&mut common, part.as_bytes());
        }
        Ok(Self { directory: directory.to_owned(), common })
    }

    /// The key of what is made of these.
    pub(crate) fn key(&self, parts: &[&[u8]]) -> ImageKey {
        let mut hash = self.common.clone();
        for part in parts {
            add(&mut hash, part);
        }
        hash.finalize().into()
    }

    /// The image, if there is one.
    pub(crate) fn open(&self, base: &MemoryImage, key: &ImageKey) -> Option<MemoryImage> {
        let path = self.path(key);
        match base.from_difference(&path, key) {
            Ok(image) => {
                // For `remove_unused`. If it does not work, the image is made again some day.
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Some(image)
            }
            Err(faasm_image::Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("failed to {error}; importing the function again");
                None
            }
        }
    }

    pub(crate) fn save(&self, image: &MemoryImage, key: &ImageKey) {
        if let Err(error) = image.save_difference(&self.path(key), key) {
            tracing::warn!("failed to {error}; the function will be imported again");
        }
    }

    fn path(&self, key: &ImageKey) -> PathBuf {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(name)
    }
}

/// Adds a part, with its length, so that no two lists of parts are the same bytes.
fn add(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

/// Also removes what killed processes have left.
fn remove_unused(directory: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let used = entry.metadata().and_then(|metadata| metadata.modified());
        if used.is_ok_and(|used| now.duration_since(used).is_ok_and(|since| since > KEPT_FOR)) {
            // Another process may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_lists_of_parts_apart() {
        let images = Images { directory: PathBuf::new(), common: Sha256::new() };
        let keys = [&[&b"ab"[..], b"c"][..], &[b"a", b"bc"], &[b"abc"], &[b"ab", b"c", b""], &[]];
        for (index, key) in keys.iter().enumerate() {
            assert!(keys[..index].iter().all(|other| images.key(other) != images.key(key)), "{index}");
        }
    }

    #[test]
    fn only_what_was_not_used_for_long_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        for (name, days) in [("old", 40), ("new", 20)] {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60)).unwrap();
        }
        remove_unused(directory.path(), SystemTime::now()).unwrap();
        let left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
