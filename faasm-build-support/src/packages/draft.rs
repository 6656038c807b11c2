//! Writing a first recipe for a package of the index.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use faasm_recipe::{Environment, PackageType, Recipe, Requirement};
use pep440_rs::{Version, VersionSpecifiers};

use super::build::{BuildSystem, only_directory};
use super::metadata::Metadata;
use super::{file_name, recipes};
use crate::cpython;
use crate::error::{Error, Result};
use crate::progress::Context;
use crate::source::pin::{Mirror, Pin};
use crate::source::{self, ProjectFile};

/// A recipe as the index and the source suggest it.
#[derive(Debug)]
pub struct Draft {
    /// The recipe.
    pub recipe: Recipe,
    /// What builds the package, such as `setuptools`, `mesonpy` or `maturin`; `None` for a wheel.
    pub backend: Option<String>,
    /// Whether there is a wheel in pure Python, so that no recipe is needed.
    pub is_pure: bool,
}

/// Writes a recipe for a package: of this version, or of the newest release that our Python can run. The source archive is
/// taken where there is one, and a wheel in pure Python otherwise. `folders` have recipes of packages that it may be built with.
///
/// # Errors
///
/// When the index does not have the package, that version, or a file of it that can be used.
pub fn draft(cx: &Context, name: &str, version: Option<&Version>, folders: &[PathBuf]) -> Result<Draft> {
    let refuse = |reason: String| Error::Lookup { what: format!("the package {name}"), reason };
    let project =
        faasm_recipe::normalized(name).ok_or_else(|| refuse("that is no package's name".to_owned()))?;
    let files = source::project_files(cx, &project)?;
    if files.is_empty() {
        return Err(refuse("the package index does not have it".to_owned()));
    }
    let (version, file) = choose(&project, &files, version).map_err(refuse)?;
    let sha256 = file.sha256().unwrap_or_default();
    let mirrors = [Mirror::PythonIndex { project: &project }];
    let archive =
        source::fetch(cx, &Pin { name: &project, version: "", file: &file.name, sha256, mirrors: &mirrors })?;
    let unpacked =
        tempfile::tempdir_in(cx.cache.root()).map_err(Error::io("create a directory in", cx.cache.root()))?;
    source::unpack(&archive, unpacked.path())?;

    let is_wheel = file.name.ends_with(".whl");
    let pure = files.iter().find(|it| file_name::pure_wheel(&it.name).as_ref() == Some(&version));
    let top = only_directory(unpacked.path())?;
    let metadata = metadata(cx, &project, &files, &version, &top)?;
    let system = if is_wheel { None } else { Some(BuildSystem::read(&top)?) };

    let mut recipe = Recipe::default();
    recipe.package.name.clone_from(&project);
    recipe.package.version = version.to_string();
    recipe.source.pypi = Some(format!("{project}=={version}"));
    recipe.source.sha256 = Some(sha256.to_owned());
    let environment = Environment::sandbox(cpython::VERSION);
    for text in metadata.requirements() {
        let requirement: Requirement = text.parse()?;
        if requirement.applies(&environment, &[]) {
            recipe.requirements.run.push(Requirement { marker: None, ..requirement }.to_string());
        }
    }
    if let Some(system) = &system {
        // A package with a recipe may have headers or libraries, and those for this machine must not be taken. C libraries are not on
        // the index: what has the name of one there is another thing, as `blis` is.
        let recipes = recipes::all_readable(cx, folders)?.into_iter();
        let built: BTreeSet<String> = recipes
            .filter(|it| it.build.package_type == PackageType::Package && !it.package.disabled)
            .map(|it| it.name())
            .collect();
        let with = system.requirements().filter(|it| it.applies(&environment, &[])).map(|it| it.name);
        let with: BTreeSet<String> = with.filter(|it| *it != project && built.contains(it)).collect();
        recipe.requirements.host = with.into_iter().collect();
        if system.uses_rust() {
            recipe.requirements.executable.push("rustup".to_owned());
        }
    }
    recipe.about.home = metadata.home();
    recipe.about.summary = metadata.first("summary").map(|it| it.lines().collect::<Vec<_>>().join(" "));
    recipe.about.license = metadata.license();
    Ok(Draft { recipe, backend: system.as_ref().map(backend), is_pure: pure.is_some() })
}

/// The version that is to be built, and its best file.
fn choose<'a>(
    project: &str,
    files: &'a [ProjectFile],
    wanted: Option<&Version>,
) -> Result<(Version, &'a ProjectFile), String> {
    let python = Version::from_str(cpython::VERSION).unwrap_or_else(|_| Version::new([3]));
    let mut found: Option<(Version, bool, &ProjectFile)> = None;
    let mut other = false;
    for file in files.iter().filter(|it| it.sha256().is_some()) {
        let source = file_name::source_archive(project, &file.name);
        let (is_source, version) = (source.is_some(), source.or_else(|| file_name::pure_wheel(&file.name)));
        let Some(version) = version else {
            other |= file.name.ends_with(".whl");
            continue;
        };
        let runs = file.requires_python.as_deref().and_then(|it| VersionSpecifiers::from_str(it).ok());
        let fits = match wanted {
            Some(wanted) => *wanted == version,
            None => {
                !version.any_prerelease() && !file.is_yanked() && runs.is_none_or(|it| it.contains(&python))
            }
        };
        let better =
            found.as_ref().is_none_or(|(best, had_source, _)| (&version, is_source) > (best, *had_source));
        if fits && better {
            found = Some((version, is_source, file));
        }
    }
    found.map(|(version, _, file)| (version, file)).ok_or_else(|| match wanted {
        Some(version) => {
            format!("the package index has no source and no pure Python wheel of version {version}")
        }
        None if other => {
            "the package index has only wheels for other platforms, and no source for our Python".to_owned()
        }
        None => format!("the package index has nothing of it for Python {}", cpython::SHORT_VERSION),
    })
}

/// The metadata of a wheel of the version, since a source archive need not have all of it; else that of the source.
fn metadata(
    cx: &Context,
    project: &str,
    files: &[ProjectFile],
    version: &Version,
    top: &Path,
) -> Result<Metadata> {
    let of_version = |file: &&ProjectFile| {
        file.name.ends_with(".whl") && file.name.split('-').nth(1).is_some_and(|it| it == version.to_string())
    };
    // Any platform's says the same, apart from what markers say. The metadata alone is worth a request, another wheel is not.
    let beside = files.iter().filter(of_version).find(|it| it.has_metadata());
    let pure = || files.iter().find(|it| file_name::pure_wheel(&it.name).as_ref() == Some(version));
    if let Some(wheel) = beside.or_else(pure) {
        return Ok(Metadata::parse(&source::wheel_metadata(cx, project, wheel)?));
    }
    let path = top.join("PKG-INFO");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(Metadata::parse(&text))
}

/// What builds a source, for people.
fn backend(system: &BuildSystem) -> String {
    if system.is_setuptools_rust() { "setuptools_rust".to_owned() } else { system.module().to_owned() }
}
