//! The rules of the lint, section by section.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::str::FromStr as _;

use pep440_rs::Version;

use super::{Report, host_cycle};
use crate::name::normalized;
use crate::parse::similar;
use crate::recipe::{Exports, PackageType, Recipe, Source};
use crate::requirement::Requirement;

/// Kinds of archives that can be unpacked.
const ARCHIVES: [&str; 5] = [".tar.gz", ".tgz", ".tar.xz", ".zip", ".whl"];

/// Programs of Emscripten, which scripts written for pyodide call.
const EMSCRIPTEN: [&str; 8] =
    ["emar", "emcc", "emcmake", "emconfigure", "emmake", "em++", "embuilder", "emranlib"];

pub(super) fn check(
    report: &mut Report<'_>,
    directory: &Path,
    recipe: &Recipe,
    others: &BTreeMap<String, Recipe>,
) {
    package(report, directory, recipe);
    source(report, directory, recipe);
    build(report, recipe);
    requirements(report, recipe, others);
    tests(report, recipe);
}

fn package(report: &mut Report<'_>, directory: &Path, recipe: &Recipe) {
    let package = &recipe.package;
    match normalized(&package.name) {
        None => report.error("package/name", format!("`{}` is not the name of a package", package.name)),
        Some(name) => {
            let folder = directory.file_name().map(|it| it.to_string_lossy().into_owned());
            if folder.as_deref().and_then(normalized).is_some_and(|folder| folder != name) {
                let message = format!("the recipe for `{}` is in a directory of another name", package.name);
                report.warn("package/name", message);
            }
        }
    }
    if !recipe.build.package_type.is_library()
        && let Err(error) = Version::from_str(&package.version)
    {
        report.error("package/version", format!("`{}` is no version: {error}", package.version));
    }
    if recipe.build.package_type == PackageType::CpythonModule {
        let message = "the recipe is not used, because CPython has its own modules linked in";
        report.note("build/type", message);
    }
    for (number, module) in package.top_level.iter().enumerate() {
        if !is_module(module) {
            report.error(
                format!("package/top-level/{number}"),
                format!("`{module}` is not the name of a module"),
            );
        }
    }
    if package.disabled {
        report.note("package/_disabled", "the recipe is not used");
    }
}

fn source(report: &mut Report<'_>, directory: &Path, recipe: &Recipe) {
    let source = &recipe.source;
    let places = [
        ("url", source.url.is_some() || source.debian.is_some()),
        ("pypi", source.pypi.is_some()),
        ("crate", source.krate.is_some()),
        ("path", source.path.is_some()),
    ];
    let given: Vec<&str> = places.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
    match given.as_slice() {
        [] => {
            let message = "it says nowhere to get the source: `url`, `pypi`, `debian`, `crate` or `path`";
            report.error("source", message);
        }
        [_] => {}
        [first, second, ..] => {
            report.error(format!("source/{second}"), format!("`{first}` is given as well; which one is it?"));
        }
    }
    if !given.is_empty() {
        hash(report, source);
    }
    pypi(report, recipe);
    if let Some(text) = &source.krate
        && source.crate_release().is_none()
    {
        report.error("source/crate", format!("`{text}` is not of the form `name==version`"));
    }
    if source.url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
        report.error("source/url", "is not a URL that begins with `https://`");
    }
    for (key, place) in [("url", &source.url), ("debian", &source.debian)] {
        let Some(place) = place else { continue };
        let file = place.split(['?', '#']).next().unwrap_or_default();
        if !ARCHIVES.iter().any(|it| file.ends_with(it)) {
            let message = format!("names no archive that can be unpacked: {}", ARCHIVES.join(", "));
            report.error(format!("source/{key}"), message);
        }
    }
    for (number, patch) in source.patches.iter().enumerate() {
        file(report, directory, &format!("source/patches/{number}"), patch);
    }
    for (number, (from, to)) in source.extras.iter().enumerate() {
        let key = format!("source/extras/{number}");
        file(report, directory, &key, from);
        if !is_inside(to) {
            report.error(key, format!("`{to}` is outside of the source"));
        }
    }
    if let Some(path) = source.extract_dir.as_ref().filter(|it| !is_inside(it)) {
        report.error("source/extract_dir", format!("`{path}` is outside of the source"));
    }
    if let Some(path) = &source.path
        && !directory.join(path).exists()
    {
        report.error("source/path", format!("there is no {}", directory.join(path).display()));
    }
    let changed = !source.patches.is_empty() || !source.extras.is_empty();
    if changed && (source.path.is_some() || source.is_wheel()) {
        let what = if source.is_wheel() { "a wheel" } else { "a source in a directory" };
        report.error("source", format!("{what} cannot have `patches` or `extras`"));
    }
}

fn hash(report: &mut Report<'_>, source: &Source) {
    match &source.sha256 {
        None if source.path.is_none() => report.error("source", "`sha256` is missing"),
        Some(_) if source.path.is_some() && !source.is_wheel() => {
            report.warn("source/sha256", "has no effect, since nothing is downloaded");
        }
        Some(hash) if hash.len() != 64 || !hash.bytes().all(|it| b"0123456789abcdef".contains(&it)) => {
            report.error("source/sha256", format!("`{hash}` is not 64 lowercase hexadecimal digits"));
        }
        _ => {}
    }
}

fn pypi(report: &mut Report<'_>, recipe: &Recipe) {
    let Some(text) = &recipe.source.pypi else { return };
    let Some((name, version)) = recipe.source.pypi_release() else {
        return report.error("source/pypi", format!("`{text}` is not of the form `name==version`"));
    };
    let same_version = Version::from_str(version).ok() == Version::from_str(&recipe.package.version).ok();
    if normalized(name) != normalized(&recipe.package.name) || !same_version {
        let package = &recipe.package;
        report.warn("source/pypi", format!("is not {}=={}, the package", package.name, package.version));
    }
}

fn build(report: &mut Report<'_>, recipe: &Recipe) {
    let build = &recipe.build;
    if build.package_type.is_library() {
        if build.script.trim().is_empty() {
            report.error("build", "a library is built by its `script`, and there is none");
        }
        for (key, text) in [
            ("post", &build.post),
            ("cflags", &build.cflags),
            ("cxxflags", &build.cxxflags),
            ("ldflags", &build.ldflags),
            ("backend-flags", &build.backend_flags),
        ] {
            if !text.trim().is_empty() {
                report.error(format!("build/{key}"), "a library is built by its `script` alone");
            }
        }
    }
    for (key, text) in [
        ("script", &build.script),
        ("cflags", &build.cflags),
        ("cxxflags", &build.cxxflags),
        ("ldflags", &build.ldflags),
        ("backend-flags", &build.backend_flags),
    ] {
        if recipe.source.is_wheel() && !text.trim().is_empty() {
            report.error(format!("build/{key}"), "has no effect, since a wheel is not built");
        }
    }
    if build.package_type == PackageType::SharedLibrary {
        report.note("build/type", "shared libraries are linked statically here");
    }
    without_effect(report, recipe);
    for (key, text) in [("script", &build.script), ("post", &build.post)] {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_+-".contains(c));
        if let Some(word) = words.find(|word| EMSCRIPTEN.contains(word)) {
            report.warn(format!("build/{key}"), format!("`{word}` is part of Emscripten and not there"));
        }
    }
}

/// What only matters to Emscripten or to pyodide's distribution.
fn without_effect(report: &mut Report<'_>, recipe: &Recipe) {
    let build = &recipe.build;
    for (key, given) in [
        ("exports", build.exports != Exports::default()),
        ("vendor-sharedlib", !build.vendor_sharedlib),
        ("cross-script", !build.cross_script.trim().is_empty()),
        ("cross-build-env", build.cross_build_env),
        ("_cross-build-env-skip-install", build.cross_build_env_skip_install),
    ] {
        if given {
            report.note(format!("build/{key}"), "has no effect here: it is for Emscripten");
        }
    }
    for (key, flags) in
        [("cflags", &build.cflags), ("cxxflags", &build.cxxflags), ("ldflags", &build.ldflags)]
    {
        let is_setting = |word: &&str| {
            let name = word.strip_prefix("-s").unwrap_or_default();
            *word == "-s" || name.starts_with(|c: char| c.is_ascii_uppercase())
        };
        if let Some(word) = flags.split_whitespace().find(is_setting) {
            report.note(format!("build/{key}"), format!("`{word}` has no effect here: it is for Emscripten"));
        }
    }
}

fn requirements(report: &mut Report<'_>, recipe: &Recipe, others: &BTreeMap<String, Recipe>) {
    let needs = &recipe.requirements;
    for (section, list) in [
        ("requirements/run", &needs.run),
        ("requirements/constraint", &needs.constraint),
        ("test/requires", &recipe.test.requires),
    ] {
        for (number, text) in list.iter().enumerate() {
            if let Err(error) = text.parse::<Requirement>() {
                report.error(
                    format!("{section}/{number}"),
                    format!("`{text}` is no requirement: {}", error.reason),
                );
            }
        }
    }
    let names: Vec<&str> = others.keys().map(String::as_str).collect();
    for (number, host) in needs.host.iter().enumerate() {
        let name = normalized(host);
        if name.as_ref().is_some_and(|it| others.contains_key(it) || *it == recipe.name()) {
            continue;
        }
        let mut message = format!("there is no recipe for `{host}`");
        if let Some(suggestion) = similar(host, &names) {
            message = format!("{message}; is `{suggestion}` meant?");
        }
        report.error(format!("requirements/host/{number}"), message);
    }
    if let Some(cycle) = host_cycle(recipe, others) {
        let way = cycle.join(" → ");
        report.error("requirements/host", format!("it needs itself to be built: {way}"));
    }
    let is_library = |name: &String| others.get(name).is_some_and(|it| it.build.package_type.is_library());
    for (number, host) in needs.host.iter().enumerate().filter(|_| recipe.source.is_wheel()) {
        if !normalized(host).as_ref().is_some_and(is_library) {
            let message = "a wheel is not built, and its modules can be linked with C libraries alone";
            report.error(format!("requirements/host/{number}"), message);
        }
    }
}

fn tests(report: &mut Report<'_>, recipe: &Recipe) {
    let test = &recipe.test;
    for (number, module) in test.imports.iter().enumerate() {
        if !is_module(module) {
            report.error(format!("test/imports/{number}"), format!("`{module}` is not the name of a module"));
        }
    }
    for (number, path) in test.source_files.iter().enumerate() {
        if !is_inside(path) {
            report.error(format!("test/source-files/{number}"), format!("`{path}` is outside of the source"));
        }
    }
}

fn file(report: &mut Report<'_>, directory: &Path, key: &str, path: &str) {
    if !is_inside(path) {
        report.error(key, format!("`{path}` is outside of the recipe's directory"));
    } else if !directory.join(path).is_file() {
        report.error(key, format!("there is no file `{path}`"));
    }
}

fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir))
}

fn is_module(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}
