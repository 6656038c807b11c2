//! From the packages that are locked to those that are built, or unpacked, for an image.

use std::path::{Path, PathBuf};

use faasm_recipe::{Recipe, normalized};

use super::build::{self, Package, Tools};
use super::lock::{Locked, Source};
use super::recipes::{Found, Recipes};
use super::wheel;
use crate::error::{Error, Result};
use crate::progress::Context;

/// The packages that come from the index as wheels.
///
/// # Errors
///
/// When one cannot be had, or is not what its lock entry says.
pub(crate) fn wheels(cx: &Context, locked: &[Locked]) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    for Locked { name, version, source, .. } in locked {
        if let Source::Wheel { file, sha256 } = source {
            packages.push(wheel::unpacked(cx, name, version, file, sha256)?);
        }
    }
    Ok(packages)
}

/// The packages that have recipes, built. Each comes after what it is built with.
///
/// # Errors
///
/// When one cannot be built.
pub(crate) fn built(
    cx: &Context,
    tools: &Tools,
    recipes: &Recipes,
    locked: &[Locked],
) -> Result<Vec<Package>> {
    let mut builds = Builds { cx, tools, recipes, locked, done: Vec::new(), path: Vec::new() };
    let with_recipe = |it: &Locked| match &it.source {
        Source::Recipe(found) => Some((it.name.clone(), (**found).clone())),
        Source::Wheel { .. } => None,
    };
    for (name, found) in locked.iter().filter_map(with_recipe) {
        builds.build(&name, &found)?;
    }
    // What is there only because others are built with it does not belong into the image.
    let is_locked = |package: &Package| locked.iter().any(|it| it.name == package.name);
    Ok(builds.done.into_iter().filter(is_locked).collect())
}

/// Builds the recipe in a directory and what it is built with, for whoever writes it. `folders` have further recipes.
///
/// # Errors
///
/// When a recipe cannot be read or built.
pub fn build_recipe(cx: &Context, directory: &Path, folders: &[PathBuf]) -> Result<Package> {
    let recipe = Recipe::read(directory)?;
    let hash = super::recipes::hash(directory, &recipe)?;
    let name = recipe.name();
    let recipes = Recipes::load(cx, folders)?;
    // Before tools are built, which takes minutes.
    if let Some(cycle) = faasm_recipe::host_cycle(&recipe, &recipes.by_name()) {
        let reason = format!("it needs itself to be built: {}", cycle.join(" → "));
        return Err(Error::Package { package: name, reason });
    }
    let tools = Tools::new(cx)?;
    let mut builds =
        Builds { cx, tools: &tools, recipes: &recipes, locked: &[], done: Vec::new(), path: Vec::new() };
    builds.build(&name, &Found { recipe, directory: directory.to_path_buf(), hash })
}

/// Unpacks the source of the recipe in a directory into another one, patched as for a build. Answers the directory within that
/// has it.
///
/// # Errors
///
/// When the recipe cannot be read, or its source cannot be had.
pub fn unpack_source(cx: &Context, directory: &Path, into: &Path) -> Result<PathBuf> {
    build::unpack_source(cx, &Recipe::read(directory)?, directory, into)
}

struct Builds<'a> {
    cx: &'a Context,
    tools: &'a Tools,
    recipes: &'a Recipes,
    locked: &'a [Locked],
    done: Vec<Package>,
    /// The packages that are being built, each with the one behind it.
    path: Vec<String>,
}

impl Builds<'_> {
    fn build(&mut self, name: &str, found: &Found) -> Result<Package> {
        if let Some(done) = self.done.iter().find(|it| it.name == name) {
            return Ok(done.clone());
        }
        let refuse = |reason: String| Error::Package { package: name.to_owned(), reason };
        if self.path.iter().any(|it| it == name) {
            return Err(refuse(format!("it needs itself to be built: {} → {name}", self.path.join(" → "))));
        }
        self.path.push(name.to_owned());
        let mut hosts = Vec::new();
        for host in &found.recipe.requirements.host {
            let host = normalized(host).unwrap_or_else(|| host.clone());
            let recipe = self
                .host(&host)
                .ok_or_else(|| refuse(format!("it is built with `{host}`, for which there is no recipe")))?;
            hosts.push(self.build(&host, &recipe)?);
        }
        self.path.pop();
        let package = build::build(self.cx, self.tools, &found.recipe, &found.directory, &hosts)?;
        self.done.push(package.clone());
        Ok(package)
    }

    /// The recipe of what others are built with: the locked one, so that headers and what runs agree, else the first.
    fn host(&self, name: &str) -> Option<Found> {
        let locked = self.locked.iter().find(|it| it.name == name).and_then(|it| match &it.source {
            Source::Recipe(found) => Some((**found).clone()),
            Source::Wheel { .. } => None,
        });
        locked.or_else(|| self.recipes.get(name).first().cloned())
    }
}
