//! The source of a recipe, ready to be built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use faasm_recipe::Recipe;

use crate::cache;
use crate::command;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::hosttools;
use crate::progress::Context;
use crate::source::pin::{Mirror, Pin};
use crate::source::{self, project_files};

/// Gets a recipe's source into the directory `into`, patched. Answers the directory within that has it.
pub(super) fn prepare(
    cx: &Context,
    step: &str,
    log: &Path,
    recipe: &Recipe,
    folder: &Path,
    into: &Path,
) -> Result<PathBuf> {
    let is_archive = match find(cx, recipe, folder)? {
        Given::Directory(path) => {
            fs_util::copy_tree(&path, into)?;
            false
        }
        Given::Archive(path) => {
            source::unpack(&path, into)?;
            true
        }
    };
    let directory = match &recipe.source.extract_dir {
        Some(name) => into.join(name),
        None if is_archive => only_directory(into)?,
        None => into.to_path_buf(),
    };
    for patch in &recipe.source.patches {
        // The program works in the source's directory.
        let path = std::path::absolute(folder.join(patch)).map_err(Error::io("find", folder))?;
        command::run(
            step,
            log,
            Command::new(hosttools::patch(cx)?)
                .current_dir(&directory)
                .args(["-p1", "--no-backup-if-mismatch", "-i"])
                .arg(&path),
        )?;
    }
    for (from, to) in &recipe.source.extras {
        let (from, to) = (folder.join(from), directory.join(to));
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
        }
        fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
    }
    Ok(directory)
}

/// The source of a recipe if that is a wheel, which is not built, and its name.
pub(super) fn wheel(cx: &Context, recipe: &Recipe, folder: &Path) -> Result<Option<(PathBuf, String)>> {
    if recipe.source.krate.is_some() {
        return Ok(None);
    }
    let Given::Archive(path) = find(cx, recipe, folder)? else { return Ok(None) };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // What was downloaded has its hash in front.
    let hash = recipe.source.sha256.as_deref().unwrap_or_default();
    let name = name.strip_prefix(hash).and_then(|it| it.strip_prefix('-')).unwrap_or(&name).to_owned();
    Ok(name.ends_with(".whl").then_some((path, name)))
}

/// A source as it is given.
enum Given {
    Directory(PathBuf),
    /// An archive, or a wheel.
    Archive(PathBuf),
}

fn find(cx: &Context, recipe: &Recipe, folder: &Path) -> Result<Given> {
    if let Some(release) = recipe.source.crate_release() {
        return fetch_crate(cx, recipe, release).map(Given::Directory);
    }
    let Some(path) = recipe.source.path.as_ref().map(|it| folder.join(it)) else {
        return fetch(cx, recipe).map(Given::Archive);
    };
    if !recipe.source.is_wheel() {
        return Ok(Given::Directory(path));
    }
    if let Some(expected) = &recipe.source.sha256 {
        let digest = cache::hash_file(&path).map_err(Error::io("read", &path))?;
        if digest != *expected {
            let reason = format!("{} has the SHA-256 {digest}, and not that of its recipe", path.display());
            return Err(Error::Package { package: recipe.package.name.clone(), reason });
        }
    }
    Ok(Given::Archive(path))
}

fn fetch_crate(cx: &Context, recipe: &Recipe, (name, version): (&str, &str)) -> Result<PathBuf> {
    source::crates::fetch_one(cx, name, version, sha256(recipe)?)
}

fn refuse(recipe: &Recipe, reason: &str) -> Error {
    Error::Package { package: recipe.package.name.clone(), reason: reason.to_owned() }
}

fn sha256(recipe: &Recipe) -> Result<&str> {
    let sha256 = recipe.source.sha256.as_deref();
    sha256.ok_or_else(|| refuse(recipe, "its recipe does not give the SHA-256 of the source"))
}

fn fetch(cx: &Context, recipe: &Recipe) -> Result<PathBuf> {
    let (package, source) = (&recipe.package, &recipe.source);
    let refuse = |reason: &str| refuse(recipe, reason);
    let sha256 = sha256(recipe)?;
    let file;
    let mirror;
    if let Some(requirement) = &source.pypi {
        let project = requirement.split("==").next().unwrap_or_default().trim();
        // A file that is there already is found by its hash, without the index.
        file = match downloaded(cx, sha256)? {
            Some(name) => name,
            None => {
                let files = project_files(cx, project)?;
                let found = files.iter().find(|it| it.sha256() == Some(sha256));
                found
                    .ok_or_else(|| refuse("the package index has no file with the SHA-256 of its recipe"))?
                    .name
                    .clone()
            }
        };
        mirror = Mirror::PythonIndex { project };
    } else if let Some(url) = &source.url {
        file = last_part(url);
        mirror = Mirror::Url(url);
    } else if let Some(path) = &source.debian {
        file = last_part(path);
        mirror = Mirror::DebianPool(path);
    } else {
        return Err(refuse("its recipe does not say where its source is"));
    }
    let mirrors = [mirror];
    let pin = Pin { name: &package.name, version: &package.version, file: &file, sha256, mirrors: &mirrors };
    source::fetch(cx, &pin)
}

/// The name of a file with this hash among those that were downloaded.
fn downloaded(cx: &Context, sha256: &str) -> Result<Option<String>> {
    let directory = cx.cache.root().join("downloads");
    if !directory.is_dir() {
        return Ok(None);
    }
    for entry in fs::read_dir(&directory).map_err(Error::io("read the directory", &directory))? {
        let name = entry.map_err(Error::io("read the directory", &directory))?.file_name();
        let name = name.to_string_lossy();
        if let Some(file) = name.strip_prefix(sha256).and_then(|it| it.strip_prefix('-'))
            && !file.ends_with(".part")
        {
            return Ok(Some(file.to_owned()));
        }
    }
    Ok(None)
}

fn last_part(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The only directory that an archive has at its top, as archives of sources do; that of the archive, if there is more.
pub(in crate::packages) fn only_directory(directory: &Path) -> Result<PathBuf> {
    Ok(match fs_util::entries(directory)?.as_slice() {
        [only] if only.is_dir() => only.clone(),
        _ => directory.to_path_buf(),
    })
}
