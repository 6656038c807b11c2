//! C sources that crates carry. Cargo fetches and checks them, from wherever the user has told it to.
//!
//! The crates themselves are not compiled. They are dependencies of a package that exists only for this, so they neither show up
//! in the lock file of people who use this crate nor clash with another version of the same crate there.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

use crate::cache::Key;
use crate::error::{Error, Result};
use crate::progress::Context;

const MANIFEST: &str = include_str!("../../c-sources.toml");
const LOCK: &str = include_str!("../../c-sources.lock");

/// Where Cargo has put the crates.
pub(crate) struct Crates(Vec<(String, PathBuf)>);

impl Crates {
    /// The directory of one of them.
    pub(crate) fn directory(&self, name: &str) -> Result<&Path> {
        let found = self.0.iter().find(|(package, _)| package == name);
        found.map(|(_, path)| path.as_path()).ok_or_else(|| Error::Lookup {
            what: format!("the C source in the crate {name}"),
            reason: "it is not among the packages of Cargo's answer".to_owned(),
        })
    }
}

/// Has Cargo say where the crates are. It downloads them if need be.
pub(crate) fn fetch(cx: &Context) -> Result<Crates> {
    let package = package(MANIFEST)?;
    let lock = package.path().join("Cargo.lock");
    fs::write(&lock, LOCK).map_err(Error::io("write", &lock))?;
    directories(cx, &package, &["--locked"])
}

/// Has Cargo say where a crate is that has the SHA-256 given. It downloads it if need be.
pub(crate) fn fetch_one(cx: &Context, name: &str, version: &str, sha256: &str) -> Result<PathBuf> {
    // What comes after `+` is no part of a requirement.
    let requirement = version.split('+').next().unwrap_or_default();
    let package = package(&format!(
        "[package]\nname = \"a-source\"\nedition = \"2021\"\n[dependencies]\n{name} = \"={requirement}\"\n"
    ))?;
    let found = directories(cx, &package, &[])?;
    let lock = package.path().join("Cargo.lock");
    let text = fs::read_to_string(&lock).map_err(Error::io("read", &lock))?;
    let pinned = pinned(&text, name).unwrap_or_default();
    for (what, expected) in [("version", version), ("checksum", sha256)] {
        if !pinned.lines().any(|line| line == format!("{what} = \"{expected}\"")) {
            return Err(Error::Lookup {
                what: format!("the crate {name} {version}"),
                reason: format!("its {what} in the registry is not {expected}"),
            });
        }
    }
    found.directory(name).map(Path::to_path_buf)
}

/// A package that exists for its dependencies.
fn package(manifest: &str) -> Result<tempfile::TempDir> {
    let package = tempfile::tempdir().map_err(Error::io("create a directory in", std::env::temp_dir()))?;
    let write = |name: &str, text: &str| {
        let path = package.path().join(name);
        fs::write(&path, text).map_err(Error::io("write", &path))
    };
    fs::create_dir(package.path().join("src")).map_err(Error::io("create a directory in", package.path()))?;
    write("Cargo.toml", manifest)?;
    write("src/lib.rs", "")?;
    Ok(package)
}

fn directories(cx: &Context, package: &tempfile::TempDir, options: &[&str]) -> Result<Crates> {
    let mut options: Vec<String> = options.iter().map(|&it| it.to_owned()).collect();
    if cx.offline {
        options.push("--offline".to_owned());
    }
    // The working directory stays ours: Cargo looks for its configuration, with the user's registries, from there upwards.
    let metadata = MetadataCommand::new()
        .manifest_path(package.path().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .map_err(|error| Error::Lookup {
            what: "the crates that carry C sources".to_owned(),
            reason: error.to_string(),
        })?;
    let directory = |package: &cargo_metadata::Package| {
        package.manifest_path.parent().map(|it| it.as_std_path().to_path_buf())
    };
    Ok(Crates(
        metadata.packages.iter().filter_map(|it| Some((it.name.to_string(), directory(it)?))).collect(),
    ))
}

/// Adds what is pinned of a crate to a key: its part of the lock file, which has version and checksum.
pub(crate) fn key(key: Key, name: &str) -> Key {
    key.content(&format!("crate {name}"), pinned(LOCK, name).unwrap_or_default())
}

/// The part of a lock file that is about a package.
fn pinned<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let heading = format!("name = \"{name}\"\n");
    lock.split("[[package]]").find(|part| part.trim_start().starts_with(&heading))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_the_crate_alone() {
        let hex = |name| key(Key::new(), name).hex();
        assert_eq!(hex("libz-sys"), hex("libz-sys"));
        assert_ne!(hex("libz-sys"), hex("libffi-sys"));
        for name in MANIFEST.lines().filter_map(|line| line.split_once(" = \"=")).map(|(name, _)| name) {
            assert!(LOCK.contains(&format!("name = \"{name}\"\n")), "{name}");
        }
    }
}
