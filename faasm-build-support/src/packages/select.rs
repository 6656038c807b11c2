//! From the packages that an image is to have to those that are built for it.

use std::path::PathBuf;
use std::str::FromStr as _;

use faasm_recipe::{Environment, Requirement};
use pep440_rs::Version;

use super::build::{self, Package, Tools};
use super::recipes::Recipes;
use crate::cpython;
use crate::error::{Error, Result};
use crate::progress::Context;

/// The packages that satisfy the requirements, and C libraries and packages that these need, built. Each comes after those that it
/// needs.
///
/// # Errors
///
/// When one has no recipe, or one of another version, or cannot be built.
pub(crate) fn select(
    cx: &Context,
    tools: &Tools,
    requirements: &[String],
    folders: &[PathBuf],
) -> Result<Vec<Package>> {
    let recipes = Recipes::load(cx, folders)?;
    let mut selection = Selection { cx, tools, recipes, built: Vec::new(), path: Vec::new() };
    for requirement in requirements {
        selection.add(requirement)?;
    }
    Ok(selection.built)
}

struct Selection<'a> {
    cx: &'a Context,
    tools: &'a Tools,
    recipes: Recipes,
    built: Vec<Package>,
    /// The packages that are being added, each because of the one before.
    path: Vec<String>,
}

impl Selection<'_> {
    fn add(&mut self, text: &str) -> Result<Option<Package>> {
        let by = self.path.last().map_or("the image", String::as_str).to_owned();
        let refuse = |package: &str, reason: String| Error::Package { package: package.to_owned(), reason };
        let requirement = Requirement::from_str(text)
            .map_err(|error| refuse(text, format!("{by} requires it, and {}", error.reason)))?;
        if !requirement.applies(&Environment::sandbox(cpython::VERSION), &[]) {
            return Ok(None);
        }
        let name = requirement.name;
        if self.path.contains(&name) {
            return Err(refuse(&name, format!("it needs itself: {} → {name}", self.path.join(" → "))));
        }
        let candidates = self.recipes.get(&name);
        // C libraries have versions of their own kind, and are required by their name alone.
        let fits = |version: &str| {
            requirement.versions.is_empty()
                || Version::from_str(version).is_ok_and(|version| requirement.versions.contains(&version))
        };
        let Some(found) = candidates.iter().find(|it| fits(&it.recipe.package.version)).cloned() else {
            let versions: Vec<&str> =
                candidates.iter().map(|it| it.recipe.package.version.as_str()).collect();
            return Err(refuse(
                &name,
                match versions.as_slice() {
                    [] => format!("{by} requires it, and there is no recipe for it"),
                    versions => {
                        format!("{by} requires {text}, and there are recipes for {}", versions.join(", "))
                    }
                },
            ));
        };
        if let Some(built) = self.built.iter().find(|it| it.name == name) {
            return Ok(Some(built.clone()));
        }
        self.path.push(name);
        let mut host = Vec::new();
        for requirement in &found.recipe.requirements.host {
            host.extend(self.add(requirement)?);
        }
        for requirement in &found.recipe.requirements.run {
            self.add(requirement)?;
        }
        self.path.pop();
        let package = build::build(self.cx, self.tools, &found.recipe, &found.directory, &host)?;
        self.built.push(package.clone());
        Ok(Some(package))
    }
}
