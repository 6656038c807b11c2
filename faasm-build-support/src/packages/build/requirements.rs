//! Finding the wheels that a build backend is made of: what `pyproject.toml` requires, and what that requires.
//!
//! The wheels are for the machine that builds. Everybody gets the same ones: those that were the newest on a certain day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr as _;

use faasm_recipe::{Environment, Requirement};
use pep440_rs::{Version, VersionSpecifiers};

use super::tags;
use crate::cpython;
use crate::error::{Error, Result};
use crate::progress::Context;
use crate::source::pin::{Mirror, Pin};
use crate::source::{self, ProjectFile};

/// Files that were uploaded later are not taken, as long as there are others. It is a part of the key of every package that is built.
pub(super) const AS_OF: &str = "2026-11-22";

/// Each round adds what it has learned, so no set of requirements that people write needs nearly as many.
const MOST_ROUNDS: usize = 20;

/// A wheel, downloaded.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sha256: String,
    pub(super) path: PathBuf,
}

/// What is required.
struct Wanted {
    environment: Environment,
    projects: BTreeMap<String, Project>,
    /// Versions that a project must have if it is needed for another reason.
    constraints: BTreeMap<String, VersionSpecifiers>,
}

/// What is required of a project.
#[derive(Clone, Debug, Default)]
struct Project {
    specifiers: VersionSpecifiers,
    extras: BTreeSet<String>,
    /// By whom, for messages.
    by: Vec<String>,
}

/// The wheels that satisfy the requirements and, of what these need, the constraints; sorted by name.
pub(super) fn resolve(cx: &Context, requirements: &[String], constraints: &[String]) -> Result<Vec<Wheel>> {
    let mut wanted = Wanted::default();
    for text in constraints {
        wanted.constrain(text)?;
    }
    for text in requirements {
        wanted.require(text, &[], "the build")?;
    }
    let mut listings = BTreeMap::new();
    // What a wheel requires is only known when it is there. When that excludes a version that was chosen before, the next
    // round chooses another one.
    for _ in 0..MOST_ROUNDS {
        let mut chosen: BTreeMap<String, Wheel> = BTreeMap::new();
        while let Some((name, want)) = wanted.projects.iter().find(|(name, _)| !chosen.contains_key(*name)) {
            let (name, want) = (name.clone(), want.clone());
            let wheel = choose(cx, &mut listings, &name, &want)?;
            let extras: Vec<&str> = want.extras.iter().map(String::as_str).collect();
            for text in super::wheel::requirements(&wheel.path)? {
                wanted.require(&text, &extras, &format!("{} {}", wheel.name, wheel.version))?;
            }
            chosen.insert(name, wheel);
        }
        let holds = |(name, wheel): (&String, &Wheel)| {
            let version = Version::from_str(&wheel.version);
            version.is_ok_and(|version| {
                wanted.projects.get(name).is_none_or(|want| want.specifiers.contains(&version))
            })
        };
        if chosen.iter().all(holds) {
            return Ok(chosen.into_values().collect());
        }
    }
    Err(Error::Lookup {
        what: format!("versions for {}", requirements.join(", ")),
        reason: format!("no set of versions was found in {MOST_ROUNDS} attempts"),
    })
}

impl Default for Wanted {
    fn default() -> Self {
        let environment = Environment::machine(cpython::VERSION);
        Self { environment, projects: BTreeMap::new(), constraints: BTreeMap::new() }
    }
}

impl Wanted {
    fn constrain(&mut self, text: &str) -> Result<()> {
        let requirement = parse(text, "the recipe")?;
        let versions = self.constraints.entry(requirement.name).or_default();
        *versions = join(versions, &requirement.versions);
        Ok(())
    }

    fn require(&mut self, text: &str, extras: &[&str], by: &str) -> Result<()> {
        let requirement = parse(text, by)?;
        if !requirement.applies(&self.environment, extras) {
            return Ok(());
        }
        let constraint = self.constraints.get(&requirement.name).cloned().unwrap_or_default();
        let project = self.projects.entry(requirement.name).or_insert_with(|| Project {
            by: (!constraint.is_empty()).then(|| format!("{constraint} (the recipe)")).into_iter().collect(),
            specifiers: constraint,
            ..Project::default()
        });
        project.specifiers = join(&project.specifiers, &requirement.versions);
        project.extras.extend(requirement.extras);
        project.by.push(format!("{text} ({by})"));
        Ok(())
    }
}

fn parse(text: &str, by: &str) -> Result<Requirement> {
    let refuse = |reason: String| Error::Lookup { what: format!("{text}, which {by} requires"), reason };
    let requirement = Requirement::from_str(text).map_err(|error| refuse(error.reason))?;
    if requirement.url.is_some() {
        return Err(refuse("it is required by its URL; only the package index is asked".to_owned()));
    }
    Ok(requirement)
}

fn join(one: &VersionSpecifiers, other: &VersionSpecifiers) -> VersionSpecifiers {
    one.iter().chain(other.iter()).cloned().collect()
}

/// Downloads the newest wheel that is wanted.
fn choose(
    cx: &Context,
    listings: &mut BTreeMap<String, Vec<ProjectFile>>,
    name: &str,
    want: &Project,
) -> Result<Wheel> {
    if !listings.contains_key(name) {
        listings.insert(name.to_owned(), source::project_files(cx, name)?);
    }
    let files = listings.get(name).map(Vec::as_slice).unwrap_or_default();
    let old = |file: &ProjectFile| file.upload_time.as_deref().is_none_or(|time| time < AS_OF);
    let usable = files.iter().filter_map(|file| {
        let (version, rank) = usable(file, want)?;
        Some(((old(file), version, rank), file))
    });
    let found = usable.max_by(|a, b| a.0.cmp(&b.0));
    let lookup = |reason: &str| Error::Lookup {
        what: format!("a wheel of {name} to build with"),
        reason: format!("{reason}; it is wanted as {}", want.by.join(", ")),
    };
    let Some(((_, version, _), file)) = found else {
        return Err(lookup("the package index has none for this machine in such a version"));
    };
    let sha256 =
        file.sha256().ok_or_else(|| lookup("the package index does not say its SHA-256"))?.to_owned();
    let version = version.to_string();
    let mirrors = [Mirror::PythonIndex { project: name }];
    let pin = Pin { name, version: &version, file: &file.name, sha256: &sha256, mirrors: &mirrors };
    let path = source::fetch(cx, &pin)?;
    Ok(Wheel { name: name.to_owned(), version, sha256, path })
}

/// The version of a wheel that can be taken, and how well it fits.
fn usable(file: &ProjectFile, want: &Project) -> Option<(Version, u32)> {
    let (version, rank) = tags::native(&file.name)?;
    let python = file.requires_python.as_deref().and_then(|text| VersionSpecifiers::from_str(text).ok());
    let own = Version::from_str(cpython::VERSION).ok()?;
    let fits = !file.is_yanked()
        && !version.any_prerelease()
        && want.specifiers.contains(&version)
        && python.is_none_or(|python| python.contains(&own));
    fits.then_some((version, rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_joined_and_markers_decide() {
        let mut wanted = Wanted::default();
        wanted.constrain("a<1.8").unwrap();
        wanted.constrain("unneeded<1").unwrap();
        for text in ["a>=1", "A<2; python_version >= '3.8'", "b; sys_platform == 'win32'", "a[x]!=1.5"] {
            wanted.require(text, &[], "test").unwrap();
        }
        let [(name, project)] = wanted.projects.iter().collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!((name.as_str(), project.extras.len()), ("a", 1));
        for (version, expected) in [("1", true), ("1.5", false), ("1.7", true), ("1.9", false)] {
            assert_eq!(
                project.specifiers.contains(&Version::from_str(version).unwrap()),
                expected,
                "{version}"
            );
        }
        for wrong in ["a @ https://example.org/a.whl", "a >", "-r x"] {
            let error = wanted.require(wrong, &[], "test").unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("test"), "{error}");
        }
    }
}
