//! The first file of a bundle: what the others are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::hash;

/// The version of the format. A program reads only its own.
pub const FORMAT: u64 = 1;

/// The manifest's name in the archive.
pub(crate) const MANIFEST: &str = "manifest.json";

/// What a bundle is of, and what its file names begin with.
pub(crate) const NAME: &str = "py_func";

/// What all names end with.
pub const EXTENSION: &str = ".tar.zst";

/// The target of bundles that have no machine code.
pub const PORTABLE: &str = "wasm32-wasip1";

/// The target of bundles that have machine code for several.
const SEVERAL: &str = "multi";

/// How deep directories may be.
const DEPTH: usize = 32;

/// `manifest.json` in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u64,
    /// `py_func`.
    pub name: String,
    /// The version that whoever made it gave it.
    pub version: String,
    /// The target that its machine code is for, `multi` if it has some for several, `wasm32-wasip1` if it has none.
    pub target: String,
    /// The SHA-256 of what the image is, whatever its machine code; see [`ImagePart`].
    pub identity: String,
    /// The image.
    pub image: ImagePart,
    /// Machine code.
    pub code: Vec<CodePart>,
    /// Functions.
    pub functions: Vec<FunctionPart>,
    /// All files but this one, sorted by path.
    pub files: Vec<FilePart>,
}

/// What an image is made of, besides machine code. The identity of an image is the hash of this and of the files below `image/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePart {
    /// The format of images.
    pub format: u64,
    /// The version of Python in it.
    pub python: String,
    /// The SHA-256 of the memory before the first instruction. That memory is made from the module again.
    pub boot: String,
    /// What the image was made from, by name.
    pub inputs: BTreeMap<String, String>,
}

/// A file with machine code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodePart {
    /// Its path in the bundle.
    pub path: String,
    /// What made it.
    pub backend: String,
    /// The engine's version.
    pub engine: String,
    /// The target: a triple, of x86-64 also with a level.
    pub target: String,
    /// The fingerprint of the engine's settings.
    pub settings: String,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionPart {
    /// Whose it is.
    pub user: String,
    /// Its name.
    pub name: String,
    /// The path in the bundle of its source, or of an archive of it.
    pub path: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePart {
    /// Its path, with slashes, relative to the bundle.
    pub path: String,
    /// The SHA-256 of its content, in lower-case hexadecimal.
    pub sha256: String,
    /// Its length, in bytes.
    pub len: u64,
}

impl Manifest {
    /// The file name of the bundle.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}{EXTENSION}", self.name, self.version, self.target)
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&FilePart> {
        self.files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()
            .and_then(|at| self.files.get(at))
    }

    /// As the bytes that are in the bundle.
    pub(crate) fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// What is wrong with it, if it was not made by this crate.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.name != NAME {
            return Err(format!("it is a bundle of {:?}", self.name));
        }
        check_version(&self.version)?;
        let mut directories = BTreeSet::new();
        for (index, file) in self.files.iter().enumerate() {
            check_path(&file.path)?;
            if index.checked_sub(1).and_then(|it| self.files.get(it)).is_some_and(|it| it.path >= file.path) {
                return Err(format!("the file {:?} is not in order, or twice in its manifest", file.path));
            }
            if file.path == MANIFEST {
                return Err("its manifest names itself".to_owned());
            }
            if file.sha256.len() != 64 || !file.sha256.bytes().all(|it| it.is_ascii_hexdigit()) {
                return Err(format!("the hash of {:?} is none", file.path));
            }
            directories.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
        }
        if let Some(file) = self.files.iter().find(|it| directories.contains(it.path.as_str())) {
            return Err(format!("{:?} is both a file and a directory", file.path));
        }
        let named = self.code.iter().map(|it| &it.path).chain(self.functions.iter().map(|it| &it.path));
        if let Some(missing) = named.into_iter().find(|it| self.file(it).is_none()) {
            return Err(format!("its manifest has no file {missing:?}, which it names"));
        }
        if self.target != target(&self.code) {
            return Err(format!("it says that it is for {:?}, and its machine code is not", self.target));
        }
        match identity(&self.image, &self.files) {
            Ok(identity) if identity == self.identity => Ok(()),
            _ => Err("the identity of its image is not the one in its manifest".to_owned()),
        }
    }
}

/// What the machine code of a bundle is for.
pub(crate) fn target(code: &[CodePart]) -> String {
    match code {
        [] => PORTABLE.to_owned(),
        [one] => one.target.clone(),
        _ => SEVERAL.to_owned(),
    }
}

/// The identity of an image.
pub(crate) fn identity(image: &ImagePart, files: &[FilePart]) -> serde_json::Result<String> {
    let files: Vec<&FilePart> = files.iter().filter(|it| it.path.starts_with("image/")).collect();
    Ok(hash::hex(Sha256::new_with_prefix(serde_json::to_vec(&(image, files))?)))
}

/// A version is a part of file names and of keys in object stores.
pub(crate) fn check_version(version: &str) -> Result<(), String> {
    let allowed = |it: char| it.is_ascii_alphanumeric() || "._+-".contains(it);
    if (1..=64).contains(&version.len()) && version.chars().all(allowed) && !version.starts_with('.') {
        return Ok(());
    }
    Err(format!(
        "the version {version:?} must be 1 to 64 of the characters A-Z a-z 0-9 . _ + - and not begin with a dot"
    ))
}

/// Paths are relative, of plain names, and fit into the header of an archive's entry.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let is_plain = |name: &str| {
        !name.is_empty() && name.len() <= 255 && name != "." && name != ".." && !name.contains(['\\', '\0'])
    };
    if path.len() <= 255 && path.split('/').count() <= DEPTH && path.split('/').all(is_plain) {
        return Ok(());
    }
    Err(format!("{path:?} is no path below a directory, of at most 255 bytes and {DEPTH} plain names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_a_directory() {
        for path in ["a", "a/b.c", "image/root/lib/python3.13/…", ".a/..b"] {
            check_path(path).unwrap();
        }
        let (long, deep) = ("a".repeat(256), "a/".repeat(40) + "a");
        for path in [
            "", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "a/./b", "a\\b", "a\0", &long, &deep,
        ] {
            check_path(path).unwrap_err();
        }
    }

    #[test]
    fn versions_are_file_names() {
        for version in ["0.1.0", "1.0.0-rc.1+build5", "nightly_2026"] {
            check_version(version).unwrap();
        }
        for version in ["", ".1", "1/2", "1 2", "ä"] {
            check_version(version).unwrap_err();
        }
    }
}
