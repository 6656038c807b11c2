//! Packages that were built, as wheels to be used elsewhere without a compiler.
//!
//! Such a wheel has relocatable objects in the place of shared libraries, so only images can be made with it, and its platform tag
//! is one that no installer takes. A recipe comes with it whose source it is: the folder with both is one of `recipe-dirs`. C
//! libraries are not in it, since an image is linked with each of them once; the recipe names them.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use faasm_recipe::{FILE_NAME, Recipe, Requirements, Source, Test, normalized};
use faasm_wasm_link::object;
use sha2::{Digest as _, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::build::{Package, init_symbol};
use super::recipes::Recipes;
use super::{file_name, select, wheel};
use crate::cache;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;

/// Builds the recipe in a directory, and writes a wheel with the result into a new directory in `into`, which gets the package's
/// name, with a recipe for the wheel. One that is there from an earlier time is replaced. `folders` have further recipes. Answers
/// the wheel.
///
/// # Errors
///
/// When the recipe is one of a C library or cannot be built, or the directory has something else in it or cannot be written.
pub fn export(cx: &Context, directory: &Path, folders: &[PathBuf], into: &Path) -> Result<PathBuf> {
    let recipe = Recipe::read(directory)?;
    let refuse = |reason: String| Error::Package { package: recipe.package.name.clone(), reason };
    if recipe.build.package_type.is_library() {
        return Err(refuse("it is a C library, of which there are no wheels".to_owned()));
    }
    let target = into.join(recipe.name());
    if target.exists() && !Recipe::read(&target).is_ok_and(|it| it.source.is_wheel()) {
        return Err(refuse(format!("{} is there, and has no wheel in it", target.display())));
    }
    let package = select::build_recipe(cx, directory, folders)?;
    let recipes = Recipes::load(cx, folders)?;
    let is_library = |host: &String| {
        let found = normalized(host).and_then(|name| recipes.get(&name).first().cloned());
        found.is_some_and(|it| it.recipe.build.package_type.is_library())
    };

    let tags = if package.modules()?.is_empty() { "py3-none-any".to_owned() } else { file_name::own_tags() };
    let part = |text: &str| text.replace('-', "_");
    let name = format!("{}-{}-{tags}.whl", part(&recipe.name()), part(&package.version));
    let content = wheel_of(&package, &tags)?;
    let mut exported = recipe.clone();
    exported.source = Source {
        path: Some(PathBuf::from(&name)),
        sha256: Some(cache::hex(&Sha256::digest(&content))),
        ..Source::default()
    };
    exported.build = faasm_recipe::Build {
        unvendor_tests: recipe.build.unvendor_tests,
        retain_test_patterns: recipe.build.retain_test_patterns.clone(),
        ..faasm_recipe::Build::default()
    };
    exported.requirements = Requirements {
        run: recipe.requirements.run.clone(),
        host: recipe.requirements.host.iter().filter(|it| is_library(it)).cloned().collect(),
        ..Requirements::default()
    };
    // Its suite may need the source.
    exported.test = Test { imports: recipe.test.imports.clone(), ..Test::default() };
    fs_util::replace_directory(&target, |new| {
        for (name, content) in
            [(name.as_str(), content.as_slice()), (FILE_NAME, exported.to_yaml().as_bytes())]
        {
            fs_util::write_whole(&new.join(name), content)?;
        }
        Ok(())
    })?;
    Ok(target.join(name))
}

/// The content of a wheel with all that a package has.
fn wheel_of(package: &Package, tags: &str) -> Result<Vec<u8>> {
    let refuse = |reason: String| Error::Package { package: package.name.clone(), reason };
    let mut files = fs_util::read_tree(&package.site())?;
    let is_in_info = |path: &str, file: &str| {
        path.split_once('/').is_some_and(|(top, rest)| top.ends_with(".dist-info") && rest == file)
    };
    let info =
        files.iter().find(|(path, _)| is_in_info(path, "METADATA")).and_then(|it| it.0.split_once('/'));
    let info = info.ok_or_else(|| refuse("what was built has no METADATA".to_owned()))?.0.to_owned();
    files.retain(|(path, _)| !["WHEEL", "RECORD"].iter().any(|it| is_in_info(path, it)));
    for (module, object) in package.modules()? {
        let bytes = fs::read(&object).map_err(Error::io("read", &object))?;
        let last = module.rsplit('.').next().unwrap_or_default();
        // As a build leaves it.
        let rename = |name: &str| (name == init_symbol(&module)).then(|| format!("PyInit_{last}"));
        let bytes = object::make_private(&bytes, rename)
            .map_err(|error| refuse(format!("failed to {error} of {}", object.display())))?;
        files.push((format!("{}.so", module.replace('.', "/")), bytes));
    }
    let pure = tags.ends_with("-any");
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "Wheel-Version: 1.0\nGenerator: cargo-faasm {version}\nRoot-Is-Purelib: {pure}\nTag: {tags}\n"
    );
    files.push((format!("{info}/WHEEL"), text.into_bytes()));
    files.sort();
    let record = format!("{info}/RECORD");
    let mut lines: String = files.iter().map(|(path, content)| wheel::record_line(path, content)).collect();
    lines.push_str(&format!("{},,\n", wheel::quoted(&record)));
    files.push((record, lines.into_bytes()));

    zipped(&files).map_err(|error| refuse(format!("its wheel cannot be written: {error}")))
}

fn zipped(files: &[(String, Vec<u8>)]) -> zip::result::ZipResult<Vec<u8>> {
    // With one time for all of them, the same content is the same wheel.
    let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path.as_str(), options)?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}
