//! The recipes that there are: those that come with this crate, and those in folders of the user.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use faasm_recipe::{FILE_NAME, PackageType, Recipe};

use crate::cache::Key;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;

/// The files below `recipes/`, by their paths.
static SHIPPED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// A recipe with its place.
#[derive(Clone, Debug)]
pub struct Found {
    /// The recipe.
    pub recipe: Recipe,
    /// The directory with its `meta.yaml` and patches.
    pub directory: PathBuf,
    /// The SHA-256 of its files, in hexadecimal.
    pub hash: String,
}

/// All recipes that may be used, by name.
#[derive(Clone, Debug, Default)]
pub struct Recipes(BTreeMap<String, Vec<Found>>);

impl Recipes {
    /// The recipes of this crate and those in `folders`: folders of recipes, or folders that are one. Of two recipes for the
    /// same version the one in the earlier folder is used, and the crate's last.
    ///
    /// # Errors
    ///
    /// When a folder or a recipe in it cannot be read.
    pub fn load(cx: &Context, folders: &[PathBuf]) -> Result<Self> {
        let mut recipes = Self::default();
        for folder in folders {
            recipes.add_folder(folder)?;
        }
        recipes.add_folder(&shipped(cx)?)?;
        Ok(recipes)
    }

    /// The recipes for a package, given by its normalised name, in the order in which they are preferred for a version.
    pub fn get(&self, name: &str) -> &[Found] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// One recipe of each name, for [`faasm_recipe::check`].
    pub fn by_name(&self) -> BTreeMap<String, Recipe> {
        let first =
            |(name, found): (&String, &Vec<Found>)| Some((name.clone(), found.first()?.recipe.clone()));
        self.0.iter().filter_map(first).collect()
    }

    fn add_folder(&mut self, folder: &Path) -> Result<()> {
        directories(folder)?.iter().try_for_each(|it| self.add(it))
    }

    fn add(&mut self, directory: &Path) -> Result<()> {
        let recipe = Recipe::read(directory)?;
        if recipe.package.disabled || recipe.build.package_type == PackageType::CpythonModule {
            return Ok(());
        }
        let known = self.0.entry(recipe.name()).or_default();
        if known.iter().all(|it| it.recipe.package.version != recipe.package.version) {
            let hash = hash(directory, &recipe)?;
            known.push(Found { recipe, directory: directory.to_path_buf(), hash });
        }
        Ok(())
    }
}

/// One recipe of each name, for [`faasm_recipe::check`], whatever is wrong with others: what cannot be read is as if it were not there.
///
/// # Errors
///
/// When a folder cannot be read.
pub fn readable(cx: &Context, folders: &[PathBuf]) -> Result<BTreeMap<String, Recipe>> {
    let mut recipes = BTreeMap::new();
    for recipe in all_readable(cx, folders)? {
        recipes.entry(recipe.name()).or_insert(recipe);
    }
    Ok(recipes)
}

/// All recipes that can be read.
///
/// # Errors
///
/// When a folder cannot be read.
pub(super) fn all_readable(cx: &Context, folders: &[PathBuf]) -> Result<Vec<Recipe>> {
    let mut recipes = Vec::new();
    for folder in folders.iter().chain([&shipped(cx)?]) {
        recipes.extend(directories(folder)?.iter().filter_map(|it| Recipe::read(it).ok()));
    }
    Ok(recipes)
}

/// The directories of recipes in a folder, which may be one itself.
fn directories(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.join(FILE_NAME).is_file() {
        return Ok(vec![folder.to_path_buf()]);
    }
    let read = || fs::read_dir(folder)?.map(|it| it.map(|it| it.path())).collect::<std::io::Result<Vec<_>>>();
    let mut paths = read().map_err(Error::io("read the folder of recipes", folder))?;
    paths.sort();
    paths.retain(|it| it.join(FILE_NAME).is_file());
    Ok(paths)
}

/// The SHA-256 of all that a recipe says, files that it names included.
pub(crate) fn hash(directory: &Path, recipe: &Recipe) -> Result<String> {
    let key = Key::new().file(FILE_NAME, &directory.join(FILE_NAME))?;
    Ok(with_files(key, directory, recipe)?.hex())
}

/// A key with the files that a recipe names.
pub(crate) fn with_files(mut key: Key, directory: &Path, recipe: &Recipe) -> Result<Key> {
    let source = &recipe.source;
    let there = |name: &str| {
        let path = directory.join(name);
        let missing = || faasm_recipe::Error::Syntax {
            path: directory.join(FILE_NAME),
            place: None,
            reason: format!("it names `{name}`, which is not there"),
            suggestion: None,
        };
        if path.exists() { Ok(path) } else { Err(missing()) }
    };
    for name in source.patches.iter().chain(source.extras.iter().map(|(from, _)| from)) {
        key = key.file(name, &there(name)?)?;
    }
    if let Some(path) = &source.path {
        let (name, path) = (path.to_string_lossy(), there(&path.to_string_lossy())?);
        if source.is_wheel() {
            key = key.file(&name, &path)?;
        } else {
            for (name, content) in fs_util::read_tree(&path)? {
                key = key.content(&name, content);
            }
        }
    }
    Ok(key)
}

/// The directory with the crate's recipes.
fn shipped(cx: &Context) -> Result<PathBuf> {
    let key = SHIPPED.iter().fold(Key::new(), |key, (name, content)| key.content(name, content));
    cx.cache.entry(
        "recipe",
        "shipped",
        &key,
        || (),
        |directory| {
            for (name, content) in SHIPPED {
                let path = directory.join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
                }
                fs::write(&path, content).map_err(Error::io("write", &path))?;
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::progress;

    fn context(directory: &Path) -> Context {
        Context {
            cache: Cache::new(directory.join("cache")),
            offline: true,
            jobs: 1,
            progress: progress::silent(),
        }
    }

    #[test]
    fn shipped_recipes_have_no_errors() {
        let directory = tempfile::tempdir().unwrap();
        let recipes = Recipes::load(&context(directory.path()), &[]).unwrap();
        assert!(recipes.0.len() > 20);
        let all = recipes.by_name();
        for found in recipes.0.values().flatten() {
            assert_eq!(
                faasm_recipe::check(&found.directory, &all).unwrap(),
                [],
                "{}",
                found.directory.display()
            );
        }
    }

    #[test]
    fn folders_of_the_user_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("own/libyaml");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(directory.path().join("own/no-recipe")).unwrap();
        let text = "package: {name: libyaml, version: 0.2.5}\nbuild: {type: static_library, script: mine}\n";
        fs::write(own.join(FILE_NAME), text).unwrap();
        for folder in ["own", "own/libyaml"] {
            let recipes =
                Recipes::load(&context(directory.path()), &[directory.path().join(folder)]).unwrap();
            let [found] = recipes.get("libyaml") else { panic!("{recipes:?}") };
            assert_eq!(found.recipe.build.script, "mine");
        }
        let error = Recipes::load(&context(directory.path()), &[directory.path().join("none")]).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
