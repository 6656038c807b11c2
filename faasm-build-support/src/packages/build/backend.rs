//! Building a wheel by the hooks of PEP 517.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use faasm_recipe::Requirement;
use serde::Deserialize;

use super::Package;
use super::environment::Environment;
use super::requirements::{self, Wheel};
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const HOOKS: &str = include_str!("hooks.py");

/// What a source without `pyproject.toml` is built with, according to PEP 517 and PEP 518.
const LEGACY_BACKEND: &str = "setuptools.build_meta:__legacy__";

/// The part of `pyproject.toml` that says how a source is built.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, rename_all = "kebab-case")]
pub(in crate::packages) struct BuildSystem {
    requires: Vec<String>,
    build_backend: String,
    backend_path: Vec<String>,
}

impl Default for BuildSystem {
    fn default() -> Self {
        Self {
            requires: vec!["setuptools".to_owned()],
            build_backend: LEGACY_BACKEND.to_owned(),
            backend_path: Vec::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct PyProject {
    build_system: BuildSystem,
}

impl BuildSystem {
    /// Reads the `pyproject.toml` of a source. A source may do without one.
    pub(in crate::packages) fn read(source: &Path) -> Result<Self> {
        let path = source.join("pyproject.toml");
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let project: PyProject =
            toml::from_str(&text).map_err(|error| Error::Manifest { path, reason: error.to_string() })?;
        Ok(project.build_system)
    }

    /// The module that builds, without what is below it: `hatchling` for `hatchling.build`.
    pub(in crate::packages) fn module(&self) -> &str {
        self.build_backend.split(['.', ':']).next().unwrap_or_default()
    }

    /// What it is built with, but what cannot be understood.
    pub(in crate::packages) fn requirements(&self) -> impl Iterator<Item = Requirement> {
        self.requires.iter().filter_map(|text| text.parse().ok())
    }

    /// Whether setuptools compile Rust.
    pub(in crate::packages) fn is_setuptools_rust(&self) -> bool {
        self.requirements().any(|it| it.name == "setuptools-rust")
    }

    /// Whether it compiles Rust.
    pub(in crate::packages) fn uses_rust(&self) -> bool {
        self.module() == "maturin" || self.is_setuptools_rust()
    }
}

/// A source that is about to be built.
pub(super) struct Build<'a> {
    pub(super) cx: &'a Context,
    pub(super) step: &'a str,
    pub(super) log: &'a Path,
    pub(super) source: &'a Path,
    pub(super) environment: &'a Environment,
    pub(super) package: &'a str,
    /// Whether the environment is one for Rust, too.
    pub(super) rust: bool,
    /// Packages whose headers and libraries take the place of this machine's.
    pub(super) host: &'a [Package],
    /// Requirements that restrict which versions the backend is made of.
    pub(super) constraints: &'a [String],
    /// Settings for the backend: names with values, of which a name may have several.
    pub(super) settings: &'a [(String, String)],
}

impl Build<'_> {
    /// Installs the build backend, and has it build a wheel in the directory `out`. Answers the wheel, and the wheels that
    /// the backend was made of.
    pub(super) fn wheel(&self, out: &Path) -> Result<(PathBuf, Vec<Wheel>)> {
        let system = BuildSystem::read(self.source)?;
        if system.uses_rust() && !self.rust {
            return Err(Error::Package {
                package: self.package.to_owned(),
                reason:
                    "it is compiled with Rust, and its recipe does not say so; `requirements` is to have \
                         `executable: [rustup]`"
                        .to_owned(),
            });
        }
        let settings = self.settings(&system);
        self.cx.message(self.step, "fetching what it is built with");
        let mut wheels = requirements::resolve(self.cx, &system.requires, self.constraints)?;
        for wheel in &wheels {
            self.environment.install(wheel)?;
        }
        let more: Vec<String> = self.hook(&system, "get_requires_for_build_wheel", &settings, None)?;
        if !more.is_empty() {
            let all: Vec<String> = system.requires.iter().chain(&more).cloned().collect();
            let complete = requirements::resolve(self.cx, &all, self.constraints)?;
            for wheel in &complete {
                if !wheels.iter().any(|it| it.path == wheel.path) {
                    self.environment.install(wheel)?;
                }
            }
            wheels = complete;
        }
        for package in self.host.iter().filter(|it| it.site().is_dir()) {
            self.environment.overlay(&package.site())?;
        }
        self.cx.message(self.step, "compiling");
        let name: String = self.hook(&system, "build_wheel", &settings, Some(out))?;
        Ok((out.join(name), wheels))
    }

    /// The settings, with those that every build of this kind has.
    fn settings(&self, system: &BuildSystem) -> BTreeMap<String, Vec<String>> {
        let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut add = |name: &str, value: String| settings.entry(name.to_owned()).or_default().push(value);
        if system.module() == "mesonpy" {
            add("setup-args", format!("--cross-file={}", self.environment.cross_file().display()));
            // A directory of its own would be gone before anybody could look at the log in it.
            add("build-dir", self.environment.build_directory().display().to_string());
            add("compile-args", format!("-j{}", self.cx.jobs));
        }
        if system.module() == "maturin" && self.source.join("Cargo.lock").is_file() {
            add("maturin.build-args", "--locked".to_owned());
        }
        for (name, value) in self.settings {
            add(name, value.clone());
        }
        settings
    }

    fn hook<T: serde::de::DeserializeOwned>(
        &self,
        system: &BuildSystem,
        hook: &str,
        settings: &BTreeMap<String, Vec<String>>,
        directory: Option<&Path>,
    ) -> Result<T> {
        let work = tempfile::tempdir().map_err(Error::io("create a directory in", std::env::temp_dir()))?;
        let (script, result) = (work.path().join("hooks.py"), work.path().join("result.json"));
        fs::write(&script, HOOKS).map_err(Error::io("write", &script))?;
        let settings: BTreeMap<&str, serde_json::Value> = settings
            .iter()
            .map(|(name, values)| match values.as_slice() {
                [value] => (name.as_str(), value.as_str().into()),
                values => (name.as_str(), values.into()),
            })
            .collect();
        let settings = serde_json::json!(settings).to_string();
        let mut python = self.environment.command(self.environment.python());
        python
            .current_dir(self.source)
            .arg(&script)
            .args([hook, &system.build_backend, &system.backend_path.join(":"), &settings])
            .arg(&result)
            .args(directory);
        command::run(self.step, self.log, &mut python)?;
        let text = fs::read_to_string(&result).map_err(Error::io("read", &result))?;
        serde_json::from_str(&text).map_err(|error| Error::Lookup {
            what: format!("the answer of the hook {hook} of {}", system.build_backend),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_say_how_they_are_built() {
        let directory = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(directory.path().join("pyproject.toml"), text).unwrap();
            BuildSystem::read(directory.path())
        };
        assert_eq!(BuildSystem::read(directory.path()).unwrap(), BuildSystem::default());
        assert_eq!(BuildSystem::default().module(), "setuptools");
        assert_eq!(read("[project]\nname = 'x'").unwrap(), BuildSystem::default());
        let own = read("[build-system]\nrequires = ['a']\nbuild-backend = 'mesonpy'\nbackend-path = ['.']")
            .unwrap();
        assert!(own.module() == "mesonpy" && own.requires == ["a"] && own.backend_path == ["."]);
        assert_eq!(read("[build-system]\nrequires = ['a']").unwrap().build_backend, LEGACY_BACKEND);
        assert!(!own.uses_rust());
        let setuptools = read("[build-system]\nrequires = ['setuptools', 'setuptools_rust>=1']").unwrap();
        assert!(setuptools.uses_rust() && setuptools.is_setuptools_rust());
        let maturin =
            read("[build-system]\nrequires = ['maturin>=1,<2']\nbuild-backend = 'maturin'").unwrap();
        assert!(maturin.uses_rust() && !maturin.is_setuptools_rust());
        let error = read("[build-system]\nrequires = 1").unwrap_err().to_string();
        assert!(error.contains("pyproject.toml") && error.contains("line 2"), "{error}");
    }
}
