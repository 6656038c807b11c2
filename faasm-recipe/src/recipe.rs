//! What a recipe says.
//!
//! Field by field the schema of pyodide-build's `recipe/spec.py`; what is added says so. Text is kept as it
//! is written: versions and requirements are judged by the lint, and variables in flags and scripts are
//! replaced by whoever builds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::name::normalized;

/// A recipe: the content of a `meta.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// What it builds.
    pub package: Package,
    /// What it is built from.
    #[serde(default)]
    pub source: Source,
    /// How it is built.
    #[serde(default)]
    pub build: Build,
    /// What it needs.
    #[serde(default)]
    pub requirements: Requirements,
    /// How to see that it works.
    #[serde(default)]
    pub test: Test,
    /// What people want to know about it.
    #[serde(default)]
    pub about: About,
    /// Whatever else its authors keep in it. Nothing here reads it.
    #[serde(default)]
    pub extra: BTreeMap<String, Extra>,
}

impl Recipe {
    /// The package's normalised name; as it is written, if it cannot be normalised.
    pub fn name(&self) -> String {
        normalized(&self.package.name).unwrap_or_else(|| self.package.name.clone())
    }
}

/// What a recipe builds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// The name, normalised as the package index does: lowercase, with `-`.
    pub name: String,
    /// The version, which is a PEP 440 version unless it is that of a C library.
    pub version: String,
    /// The modules that it installs at the top of `site-packages`. Without any, tests import those that the build has made.
    #[serde(default)]
    pub top_level: Vec<String>,
    /// Labels. pyodide selects sets of recipes by them; here they are for people.
    #[serde(default)]
    pub tag: Vec<String>,
    /// Whether the recipe is not to be used.
    #[serde(default, rename = "_disabled")]
    pub disabled: bool,
    /// Whether pyodide's tools leave the version as it is. Nothing here changes versions by itself.
    #[serde(default)]
    pub pinned: bool,
}

/// Where a recipe's source is. One of `url`, `pypi`, `debian`, `crate` and `path`; `debian` may come with `url`, as a
/// second place for the same file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct Source {
    /// The URL of an archive or a wheel.
    pub url: Option<String>,
    /// `name==version` on the package index that the machine uses; `sha256` says which of its files. Not in
    /// pyodide's schema.
    pub pypi: Option<String>,
    /// A path below the root of the Debian archive that the machine uses, such as
    /// `pool/main/liby/libyaml/libyaml_0.2.5.orig.tar.gz`. Not in pyodide's schema.
    pub debian: Option<String>,
    /// `name==version` of a crate that carries the source, which Cargo gets from where the user has told it to; `sha256` is what the
    /// registry says of the crate. Not in pyodide's schema.
    #[serde(rename = "crate")]
    pub krate: Option<String>,
    /// A directory with the source, or a wheel, relative to the directory of the recipe.
    pub path: Option<PathBuf>,
    /// The directory within the archive that has the source, where it is not the only one.
    pub extract_dir: Option<String>,
    /// The archive's SHA-256 in lowercase hexadecimal.
    pub sha256: Option<String>,
    /// Patches, relative to the recipe's directory, applied in this order with `-p1`.
    #[serde(default)]
    pub patches: Vec<String>,
    /// Files to copy into the source: a path relative to the recipe's directory, and one relative to the source's.
    #[serde(default)]
    pub extras: Vec<(String, String)>,
}

impl Source {
    /// The name and the version that `pypi` says, if it is of the form `name==version`.
    pub fn pypi_release(&self) -> Option<(&str, &str)> {
        let (name, version) = self.pypi.as_deref()?.split_once("==")?;
        let (name, version) = (name.trim(), version.trim());
        let valid = normalized(name).is_some() && version.parse::<pep440_rs::Version>().is_ok();
        valid.then_some((name, version))
    }

    /// The name and the version that `crate` says, if it is of the form `name==version`.
    pub fn crate_release(&self) -> Option<(&str, &str)> {
        let (name, version) = self.krate.as_deref()?.split_once("==")?;
        let valid = |text: &str, more: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        (valid(name, "-_") && valid(version, ".+-")).then_some((name, version))
    }

    /// Whether `url` or `path` names a wheel, which is not built.
    pub fn is_wheel(&self) -> bool {
        let in_url = |url: &str| url.split(['?', '#']).next().is_some_and(|it| it.ends_with(".whl"));
        let in_path = self.path.as_ref().and_then(|it| it.extension()).is_some_and(|it| it == "whl");
        in_path || self.url.as_deref().is_some_and(in_url)
    }
}

/// How a recipe is built.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Build {
    /// What the result is.
    #[serde(rename = "type")]
    pub package_type: PackageType,
    /// A shell script that runs in the source's directory: before the build of a Python package, as the build of
    /// everything else.
    pub script: String,
    /// A shell script that runs in the unpacked wheel after the build.
    pub post: String,
    /// A shell script that runs in the source's directory within pyodide's cross-build environment.
    pub cross_script: String,
    /// Flags for the C compiler, in shell syntax.
    pub cflags: String,
    /// Flags for the C++ compiler, in shell syntax.
    pub cxxflags: String,
    /// Flags for the linker, in shell syntax.
    pub ldflags: String,
    /// Settings for the build backend: see [`Build::config_settings`].
    pub backend_flags: String,
    /// Which symbols Emscripten's side modules export. Without effect where modules are linked statically.
    pub exports: Exports,
    /// Whether tests are left out of what is installed.
    pub unvendor_tests: bool,
    /// Which tests are kept all the same: glob patterns of paths.
    #[serde(alias = "_retain-test-patterns")]
    pub retain_test_patterns: Vec<String>,
    /// Whether shared libraries are put into the wheel. Without effect where there are none.
    pub vendor_sharedlib: bool,
    /// Whether pyodide's cross-build environment has the package.
    pub cross_build_env: bool,
    /// Whether pyodide's cross-build environment has only its files.
    #[serde(rename = "_cross-build-env-skip-install")]
    pub cross_build_env_skip_install: bool,
    /// Files that packages built against this one need: paths below `site-packages`.
    pub cross_build_files: Vec<String>,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            package_type: PackageType::default(),
            script: String::new(),
            post: String::new(),
            cross_script: String::new(),
            cflags: String::new(),
            cxxflags: String::new(),
            ldflags: String::new(),
            backend_flags: String::new(),
            exports: Exports::default(),
            unvendor_tests: true,
            retain_test_patterns: Vec::new(),
            vendor_sharedlib: true,
            cross_build_env: false,
            cross_build_env_skip_install: false,
            cross_build_files: Vec::new(),
        }
    }
}

impl Build {
    /// The backend's settings, which are `key=value` separated by white space, as the keys and values that
    /// PEP 517 hooks take in `config_settings`. A key may occur more than once. A word without `=` is a key with
    /// an empty value.
    pub fn config_settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.backend_flags.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, "")))
    }
}

/// What the result of a recipe is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageType {
    /// A Python package.
    #[default]
    Package,
    /// A C library that packages are linked with.
    StaticLibrary,
    /// A C library that Emscripten loads at run time. Here it is linked as any other.
    SharedLibrary,
    /// A module of the standard library that pyodide ships apart from it.
    CpythonModule,
}

impl PackageType {
    /// Whether the result is a C library.
    pub fn is_library(self) -> bool {
        matches!(self, Self::StaticLibrary | Self::SharedLibrary)
    }
}

/// Which symbols Emscripten's side modules export.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Exports {
    /// `pyinit`, `requested` or `whole_archive`.
    Kind(ExportKind),
    /// These symbols.
    Symbols(Vec<String>),
}

impl Default for Exports {
    fn default() -> Self {
        Self::Kind(ExportKind::Pyinit)
    }
}

/// A set of symbols with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportKind {
    /// The initialising function of each module.
    Pyinit,
    /// What the source marks as visible.
    Requested,
    /// All.
    WholeArchive,
}

/// What a recipe needs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Requirements {
    /// PEP 508 requirements of the package when it runs.
    pub run: Vec<String>,
    /// Recipes whose results have to be there when it is built: C libraries, and packages with headers.
    pub host: Vec<String>,
    /// Extras of the package whose requirements are there when it is built.
    pub build_extras: Vec<String>,
    /// Programs that the build runs.
    pub executable: Vec<String>,
    /// PEP 508 requirements that restrict the versions of what the build backend is built from.
    pub constraint: Vec<String>,
}

/// How to see that a package works.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Test {
    /// Modules that can be imported.
    pub imports: Vec<String>,
    /// The package's own tests: commands that run in the sandbox, each the arguments of `python` in shell syntax,
    /// such as `-m pytest --pyargs numpy`. Not in pyodide's schema.
    pub suite: Vec<String>,
    /// PEP 508 requirements of the tests alone. Not in pyodide's schema.
    pub requires: Vec<String>,
    /// Files and directories of the source that the tests need, which are their current directory. Not in
    /// pyodide's schema.
    pub source_files: Vec<String>,
}

/// What people want to know about a package.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct About {
    /// Its site.
    pub home: Option<String>,
    /// Its page on the package index.
    #[serde(rename = "PyPI")]
    pub pypi: Option<String>,
    /// What it is, in a line.
    pub summary: Option<String>,
    /// Its licence, an SPDX expression.
    pub license: Option<String>,
}

/// A value under `extra`, of any kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extra;

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
