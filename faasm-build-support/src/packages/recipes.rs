//! Where recipes are: in folders of the user, and in this crate.

use std::fs;
use std::path::{Path, PathBuf};

use faasm_recipe::Recipe;

use crate::cache::Key;
use crate::error::{Error, Result};
use crate::progress::Context;

/// The recipes that this crate brings: names, with the paths and contents of their files.
#[expect(clippy::type_complexity)]
const SHIPPED: &[(&str, &[(&str, &[u8])])] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// A recipe, and the folder that it lies in.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) recipe: Recipe,
    pub(crate) folder: PathBuf,
}

/// The recipe for a package: the one in the first of the folders that has it, else the one that this crate brings.
///
/// # Errors
///
/// When there is none, or it cannot be read.
pub(crate) fn find(cx: &Context, name: &str, folders: &[PathBuf]) -> Result<Found> {
    let own = folders.iter().map(|folder| folder.join(name)).find(|it| it.is_dir());
    let folder = match own {
        Some(folder) => folder,
        None => shipped(cx, name)?,
    };
    let refuse = |reason: String| Error::Package { package: name.to_owned(), reason };
    let recipe = Recipe::read(&folder).map_err(|error| refuse(format!("failed to {error}")))?;
    if recipe.package.disabled {
        return Err(refuse("its recipe says that it is not to be used".to_owned()));
    }
    Ok(Found { recipe, folder })
}

/// Writes a recipe of this crate into the cache.
fn shipped(cx: &Context, name: &str) -> Result<PathBuf> {
    let Some((_, files)) = SHIPPED.iter().find(|(it, _)| *it == name) else {
        let reason = "there is no recipe for it".to_owned();
        return Err(Error::Package { package: name.to_owned(), reason });
    };
    let key = files.iter().fold(Key::new(), |key, (path, content)| key.content(path, content));
    cx.entry("recipe", name, &key, |directory| {
        files.iter().try_for_each(|(path, content)| write(&directory.join(path), content))
    })
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
    }
    fs::write(path, content).map_err(Error::io("write", path))
}
