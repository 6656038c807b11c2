//! `[package.metadata.faasm]` in a `Cargo.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// What a package says about its image.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// Packages that functions can import: PEP 508 requirements.
    pub(crate) packages: Vec<String>,
    /// Files with further requirements, relative to the manifest: a `requirements.txt`, a `pyproject.toml`.
    pub(crate) requirements: Vec<PathBuf>,
    /// Folders with further recipes, relative to the manifest.
    pub(crate) recipe_dirs: Vec<PathBuf>,
    /// Modules to import before the image is taken.
    pub(crate) preload: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    package: Package,
}

#[derive(Default, Deserialize)]
struct Package {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    faasm: Settings,
}

/// Reads the settings from a `Cargo.toml`; those of a package without any are the defaults.
pub(crate) fn read(path: &Path) -> Result<Settings> {
    parse(path, &fs::read_to_string(path).map_err(Error::io("read", path))?)
}

/// Reads the settings from the text of a `Cargo.toml`, whose path is for messages.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Settings> {
    let manifest: Manifest = toml::from_str(text)
        .map_err(|error| Error::Manifest { path: path.to_path_buf(), reason: error.to_string() })?;
    Ok(manifest.package.metadata.faasm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let preload = |list: &[&str]| Settings { preload: names(list), ..Settings::default() };
        for (text, expected) in [
            ("", preload(&[])),
            ("[package]\nname = 'x'", preload(&[])),
            ("[package.metadata.other]\na = 1", preload(&[])),
            ("[package.metadata.faasm]\npreload = ['json', 're']", preload(&["json", "re"])),
            (
                "[package.metadata.faasm]\npackages = ['numpy>=2']\nrecipe-dirs = ['recipes']",
                Settings {
                    packages: names(&["numpy>=2"]),
                    recipe_dirs: vec!["recipes".into()],
                    ..Settings::default()
                },
            ),
        ] {
            assert_eq!(parse(Path::new("Cargo.toml"), text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let error =
            parse(Path::new("Cargo.toml"), "[package.metadata.faasm]\nprelaod = []").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("prelaod"), "{error}");
    }
}
