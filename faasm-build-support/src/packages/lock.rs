//! `faasm.lock`: the versions that were chosen, with the hashes of what they are made from.
//!
//! It lies beside `Cargo.lock`, and like that belongs into version control. As long as what is required and the recipes stay the
//! same it is used as it is, without asking the index. Otherwise versions are chosen anew, and those that it has are kept where they will do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr as _;

use faasm_recipe::{Environment, Requirement, normalized};
use pep440_rs::Version;
use serde::{Deserialize, Serialize};

use super::file_name;
use super::hashes::{self, Hashes};
use super::recipes::{Found, Recipes};
use super::resolve::{self, Candidate, Chosen};
use crate::cpython;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::{self, Context};
use crate::source::{ProjectFile, pin};

/// The name of the file.
pub const FILE_NAME: &str = "faasm.lock";

/// Raised when the file gets a form that older programs do not understand.
const FORMAT: u32 = 1;

const HEADER: &str =
    "# Written by `cargo faasm`. It belongs into version control, and is not to be edited by hand.\n";

/// Whether the file may be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As little as possible: versions are kept while they will do.
    #[default]
    Keep,
    /// Not at all. What it does not answer is an error.
    Locked,
    /// The newest versions of these packages are chosen, given by their normalised names; of all, if there are none.
    Update(BTreeSet<String>),
}

impl Mode {
    /// [`Mode::Locked`] if the environment variable `FAASM_LOCKED` is true, [`Mode::Keep`] otherwise.
    ///
    /// # Errors
    ///
    /// When it is neither true nor false.
    pub fn from_env() -> Result<Self> {
        Ok(if progress::flag("FAASM_LOCKED")? { Self::Locked } else { Self::Keep })
    }
}

/// A package of the image.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Its normalised name.
    pub name: String,
    /// Its version. That of a C library need not be one in the sense of PEP 440.
    pub version: String,
    /// What it is made from.
    pub source: Source,
    /// The names of the packages that it requires; of a C library, and of a package with a recipe, also the C libraries that it is built with.
    pub dependencies: Vec<String>,
}

/// What a package is made from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A recipe, of a package or of a C library.
    Recipe(Box<Found>),
    /// A wheel in pure Python on the package index.
    Wheel {
        /// The file's name.
        file: String,
        /// Its SHA-256, in lowercase hexadecimal.
        sha256: String,
    },
}

/// The packages that `requirements` come to, as the lock file in `directory` has them. If it does not answer that, versions are
/// chosen and the file is written. Nothing required is no reason to have a file. The result is sorted by name. `hashes` are those that
/// packages may have, by their normalised names.
///
/// # Errors
///
/// When no versions fit, a package is not available or has another hash, the file cannot be read or written, or would have to change
/// although `mode` is [`Mode::Locked`].
pub fn read_or_resolve(
    cx: &Context,
    directory: &Path,
    recipes: &Recipes,
    requirements: &[Requirement],
    hashes: &BTreeMap<String, Hashes>,
    mode: &Mode,
) -> Result<Vec<Locked>> {
    let path = directory.join(FILE_NAME);
    let old = read(&path)?;
    let wanted = wanted(requirements);
    let updates = matches!(mode, Mode::Update(_));
    if let Some(locked) =
        old.as_ref().filter(|_| !updates).and_then(|old| answer(old, requirements, &wanted, recipes))
    {
        hashes::check(&locked, hashes)?;
        return Ok(locked);
    }
    if *mode == Mode::Locked && !(old.is_none() && wanted.is_empty()) {
        let reason = match old {
            None => "there is no such file".to_owned(),
            Some(old) if old.requirements != wanted => "other packages are required now".to_owned(),
            Some(old) if !is_complete(&old, requirements) => "it does not have what is required".to_owned(),
            Some(_) => "recipes have changed".to_owned(),
        };
        return Err(Error::Locked { path, reason });
    }
    let preferred = preferred(old.as_ref(), mode);
    let chosen = resolve::resolve(cx, recipes, requirements, &preferred, &known(old.as_ref()))?;
    let locked = with_libraries(chosen, recipes)?;
    hashes::check(&locked, hashes)?;
    let file = File {
        version: FORMAT,
        python: cpython::SHORT_VERSION.to_owned(),
        requirements: wanted,
        package: locked.iter().map(Entry::from).collect(),
    };
    write(&path, &file, old.as_ref())?;
    Ok(locked)
}

/// The packages that `requirements` come to, without a file.
///
/// # Errors
///
/// When no versions fit, or a package is not available.
pub fn resolve(cx: &Context, recipes: &Recipes, requirements: &[Requirement]) -> Result<Vec<Locked>> {
    with_libraries(resolve::resolve(cx, recipes, requirements, &BTreeMap::new(), &BTreeMap::new())?, recipes)
}

/// The packages in the lock file of a directory with their versions, whether or not it is up to date.
///
/// # Errors
///
/// When the file cannot be read.
pub fn read_versions(directory: &Path) -> Result<BTreeMap<String, String>> {
    let file = read(&directory.join(FILE_NAME))?;
    Ok(file.into_iter().flat_map(|it| it.package).map(|it| (it.name, it.version)).collect())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    python: String,
    /// What the versions were chosen for, sorted.
    requirements: Vec<String>,
    #[serde(default)]
    package: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    version: String,
    /// `recipe` or `index`.
    source: Origin,
    /// A wheel's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    /// The hash of the source or the wheel; none for a source in a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    /// The hash of the recipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recipe: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    Recipe,
    Index,
}

impl From<&Locked> for Entry {
    fn from(locked: &Locked) -> Self {
        let (source, file, sha256, recipe) = match &locked.source {
            Source::Recipe(found) => {
                (Origin::Recipe, None, found.recipe.source.sha256.clone(), Some(found.hash.clone()))
            }
            Source::Wheel { file, sha256 } => (Origin::Index, Some(file.clone()), Some(sha256.clone()), None),
        };
        let Locked { name, version, dependencies, .. } = locked.clone();
        Self { name, version, source, file, sha256, recipe, dependencies }
    }
}

fn wanted(requirements: &[Requirement]) -> Vec<String> {
    let mut wanted: Vec<String> = requirements.iter().map(ToString::to_string).collect();
    wanted.sort();
    wanted.dedup();
    wanted
}

/// The packages that a file has, if it is for these requirements and all of its recipes are there unchanged, with none for what it has
/// from the index.
fn answer(
    file: &File,
    requirements: &[Requirement],
    wanted: &[String],
    recipes: &Recipes,
) -> Option<Vec<Locked>> {
    if file.python != cpython::SHORT_VERSION || file.requirements != wanted {
        return None;
    }
    if !is_complete(file, requirements) {
        return None;
    }
    let has_recipe =
        |name: &str| recipes.get(name).iter().any(|it| !it.recipe.build.package_type.is_library());
    let locked = |entry: &Entry| {
        let source = match entry.source {
            Origin::Recipe => {
                let same = |it: &&Found| {
                    it.recipe.package.version == entry.version && Some(&it.hash) == entry.recipe.as_ref()
                };
                Source::Recipe(Box::new(recipes.get(&entry.name).iter().find(same)?.clone()))
            }
            Origin::Index if has_recipe(&entry.name) => return None,
            Origin::Index => Source::Wheel { file: entry.file.clone()?, sha256: entry.sha256.clone()? },
        };
        let Entry { name, version, dependencies, .. } = entry.clone();
        Some(Locked { name, version, source, dependencies })
    };
    file.package.iter().map(locked).collect()
}

/// Whether a file has everything once: what is required, in versions that do, and what that needs. A merge or an edit can have taken
/// something away.
fn is_complete(file: &File, requirements: &[Requirement]) -> bool {
    let versions: BTreeMap<&str, &str> =
        file.package.iter().map(|it| (it.name.as_str(), it.version.as_str())).collect();
    let environment = Environment::sandbox(cpython::VERSION);
    let will_do = |requirement: &Requirement| {
        let version = versions.get(requirement.name.as_str()).and_then(|it| Version::from_str(it).ok());
        version.is_some_and(|it| requirement.versions.contains(&it))
    };
    let is_of_version = |entry: &Entry| match &entry.file {
        Some(file) => file_name::pure_wheel_of(&entry.name, file) == Version::from_str(&entry.version).ok(),
        None => true,
    };
    versions.len() == file.package.len()
        && requirements.iter().filter(|it| it.applies(&environment, &[])).all(will_do)
        && file.package.iter().flat_map(|it| &it.dependencies).all(|it| versions.contains_key(it.as_str()))
        && file.package.iter().all(is_of_version)
}

/// The wheels that a file has, by the names of their projects.
fn known(old: Option<&File>) -> BTreeMap<String, ProjectFile> {
    let entries = old.into_iter().flat_map(|it| &it.package);
    let wheel = |it: &Entry| Some(ProjectFile::known(it.file.clone()?, it.sha256.clone()?));
    entries.filter_map(|it| Some((it.name.clone(), wheel(it)?))).collect()
}

fn preferred(old: Option<&File>, mode: &Mode) -> BTreeMap<String, Version> {
    let keeps = |name: &str| match mode {
        Mode::Update(names) => !names.is_empty() && !names.contains(name),
        Mode::Keep | Mode::Locked => true,
    };
    let entries = old.into_iter().flat_map(|it| &it.package).filter(|it| keeps(&it.name));
    entries.filter_map(|it| Some((it.name.clone(), Version::from_str(&it.version).ok()?))).collect()
}

/// Adds the C libraries that packages with recipes are built with, and those that these are built with.
fn with_libraries(chosen: Vec<Chosen>, recipes: &Recipes) -> Result<Vec<Locked>> {
    let mut locked: BTreeMap<String, Locked> = BTreeMap::new();
    let mut open: Vec<(String, Found)> = Vec::new();
    for Chosen { name, version, from, dependencies } in chosen {
        let mut version = version.to_string();
        let source = match from {
            Candidate::Recipe(found) => {
                // As the recipe writes it, so that it is found again.
                version.clone_from(&found.recipe.package.version);
                open.push((name.clone(), (*found).clone()));
                Source::Recipe(found)
            }
            Candidate::Wheel(file) => {
                Source::Wheel { sha256: file.sha256().unwrap_or_default().to_owned(), file: file.name }
            }
        };
        locked.insert(name.clone(), Locked { name, version, source, dependencies });
    }
    let all = recipes.by_name();
    while let Some((name, found)) = open.pop() {
        if let Some(cycle) = faasm_recipe::host_cycle(&found.recipe, &all) {
            let reason = format!("its recipe needs itself to be built: {}", cycle.join(" → "));
            return Err(Error::Package { package: name, reason });
        }
        for host in &found.recipe.requirements.host {
            let host = normalized(host).unwrap_or_else(|| host.clone());
            let Some(library) = recipes.get(&host).first() else {
                let reason = format!("it is built with `{host}`, for which there is no recipe");
                return Err(Error::Package { package: name, reason });
            };
            if !library.recipe.build.package_type.is_library() {
                continue;
            }
            if let Some(entry) = locked.get_mut(&name) {
                entry.dependencies.push(host.clone());
                entry.dependencies.sort();
                entry.dependencies.dedup();
            }
            if !locked.contains_key(&host) {
                let version = library.recipe.package.version.clone();
                let source = Source::Recipe(Box::new(library.clone()));
                locked.insert(
                    host.clone(),
                    Locked { name: host.clone(), version, source, dependencies: Vec::new() },
                );
                open.push((host, library.clone()));
            }
        }
    }
    Ok(locked.into_values().collect())
}

fn read(path: &Path) -> Result<Option<File>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let refuse = |reason: String| Error::Manifest { path: path.to_path_buf(), reason };
    // The format is looked at first, since another one may have any keys.
    #[derive(Deserialize)]
    struct Format {
        version: u32,
    }
    let format: Format = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    if format.version != FORMAT {
        return Err(refuse(format!(
            "it has version {} of the format, and this program reads {FORMAT}; remove it to have it written anew",
            format.version
        )));
    }
    let file: File = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    for entry in &file.package {
        let is_sound = normalized(&entry.name).as_deref() == Some(entry.name.as_str())
            && entry.file.as_deref().is_none_or(pin::is_file_name)
            && (entry.source == Origin::Recipe || entry.sha256.as_deref().is_none_or(pin::is_sha256));
        if !is_sound {
            return Err(refuse(format!(
                "the name, file or hash of `{}` is none; remove the file to have it written anew",
                entry.name
            )));
        }
    }
    Ok(Some(file))
}

fn write(path: &Path, file: &File, old: Option<&File>) -> Result<()> {
    if old == Some(file) {
        return Ok(());
    }
    if old.is_none() && file.package.is_empty() {
        return Ok(());
    }
    let refuse =
        |error: toml::ser::Error| Error::Manifest { path: path.to_path_buf(), reason: error.to_string() };
    let text = toml::to_string_pretty(file).map_err(refuse)?;
    fs_util::write_whole(path, format!("{HEADER}{text}").as_bytes())
}

#[cfg(test)]
mod tests;
