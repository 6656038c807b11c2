//! What a Cargo package says about its Python packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use faasm_recipe::Requirement;

use super::hashes::Hashes;
use super::lock::{self, Locked, Mode};
use super::recipes::Recipes;
use super::requirements_file::{self, Requirements};
use crate::error::{Error, Result};
use crate::image::manifest;
use crate::progress::Context;

/// The Python packages of a Cargo package, as `packages`, `requirements` and `recipe-dirs` in `[package.metadata.faasm]` say it.
#[derive(Clone, Debug)]
pub struct Project {
    /// The directory with the `Cargo.toml`, where the lock file is.
    pub directory: PathBuf,
    /// What is required: by `packages`, then by the files in `requirements`.
    pub requirements: Vec<Requirement>,
    /// The hashes that files of packages may have, by the packages' normalised names, where such files say them.
    pub hashes: BTreeMap<String, Hashes>,
    /// Folders with further recipes.
    pub recipe_folders: Vec<PathBuf>,
    /// Files besides the `Cargo.toml` that say what is required, those that such files name included.
    pub files: Vec<PathBuf>,
}

impl Project {
    /// Reads the `Cargo.toml` in a directory, and files with requirements that it names.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, or says something that cannot be used.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Self::parse(directory, &text)
    }

    /// Like [`Project::read`] with the text that the `Cargo.toml` is to have.
    ///
    /// # Errors
    ///
    /// Those of [`Project::read`].
    pub fn parse(directory: &Path, text: &str) -> Result<Self> {
        let path = directory.join("Cargo.toml");
        let settings = manifest::parse(&path, text)?;
        let mut found = Requirements::default();
        for text in &settings.packages {
            let refuse = |error| Error::Manifest {
                path: path.clone(),
                reason: format!("in `packages`, cannot {error}"),
            };
            found.required.push(text.parse().map_err(refuse)?);
        }
        let below = |paths: &[PathBuf]| paths.iter().map(|it| directory.join(it)).collect::<Vec<_>>();
        for file in below(&settings.requirements) {
            requirements_file::read(&file, &mut found)?;
        }
        let recipe_folders = below(&settings.recipe_dirs);
        let Requirements { required: requirements, hashes, files } = found;
        Ok(Self { directory: directory.to_path_buf(), requirements, hashes, recipe_folders, files })
    }

    /// The packages that this comes to: see [`lock::read_or_resolve`].
    ///
    /// # Errors
    ///
    /// When recipes cannot be read, and those of [`lock::read_or_resolve`].
    pub fn lock(&self, cx: &Context, mode: &Mode) -> Result<Vec<Locked>> {
        let recipes = Recipes::load(cx, &self.recipe_folders)?;
        lock::read_or_resolve(cx, &self.directory, &recipes, &self.requirements, &self.hashes, mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_required_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("requirements.txt", "-r base.txt\n");
        write("base.txt", "six\n");
        write("pyproject.toml", "[project]\ndependencies = ['attrs']\n");
        write(
            "Cargo.toml",
            "[package.metadata.faasm]\npackages = ['numpy>=2']\nrequirements = ['requirements.txt', 'pyproject.toml']\nrecipe-dirs = ['recipes']\n",
        );
        let project = Project::read(directory.path()).unwrap();
        let required: Vec<String> = project.requirements.iter().map(ToString::to_string).collect();
        assert_eq!(required, ["numpy>=2", "six", "attrs"]);
        assert_eq!(project.recipe_folders, [directory.path().join("recipes")]);
        let files = ["requirements.txt", "base.txt", "pyproject.toml"].map(|it| directory.path().join(it));
        assert_eq!(project.files, files);
        write("Cargo.toml", "[package.metadata.faasm]\npackages = ['num py']\n");
        let error = Project::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("Cargo.toml") && error.contains("num py"), "{error}");
    }
}
