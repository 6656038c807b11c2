//! Choosing versions: of packages with a recipe one that there is a recipe for, of others a wheel in pure Python.
//!
//! PubGrub (`pubgrub`) chooses, and when nothing fits its proof of that becomes the explanation.

mod explain;
mod unit;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::str::FromStr as _;

use faasm_recipe::{Environment, Requirement};
use pep440_rs::{Version, VersionSpecifiers};
use pubgrub::{Dependencies, DependencyProvider, PackageResolutionStatistics, PubGrubError, Ranges};

use self::unit::Unit;
use super::file_name;
use super::metadata::Metadata;
use super::recipes::{Found, Recipes};
use crate::cpython;
use crate::error::{Error, Result};
use crate::progress::Context;
use crate::source::{self, ProjectFile};

/// A package of the result.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) from: Candidate,
    /// The names of what it requires, sorted.
    pub(super) dependencies: Vec<String>,
}

/// Where a version can be had.
#[derive(Clone, Debug)]
pub(super) enum Candidate {
    Recipe(Box<Found>),
    Wheel(Box<ProjectFile>),
}

/// What is asked about packages without a recipe. Tests have an index of their own.
pub(super) struct Index<'a> {
    pub(super) files: &'a dyn Fn(&str) -> Result<Vec<ProjectFile>>,
    pub(super) metadata: &'a dyn Fn(&str, &ProjectFile) -> Result<String>,
}

/// Chooses versions for `requirements` and all that those need. A version in `preferred` is kept as long as it will do; when the
/// network must not be used, the files in `locked` are all that there is of their projects. The result is sorted by name.
pub(super) fn resolve(
    cx: &Context,
    recipes: &Recipes,
    requirements: &[Requirement],
    preferred: &BTreeMap<String, Version>,
    locked: &BTreeMap<String, ProjectFile>,
) -> Result<Vec<Chosen>> {
    let files = |project: &str| match locked.get(project) {
        // Without the network the index cannot say more than it did.
        Some(file) if cx.offline => Ok(vec![file.clone()]),
        _ => source::project_files(cx, project),
    };
    let metadata = |project: &str, file: &ProjectFile| source::wheel_metadata(cx, project, file);
    resolve_with(&Index { files: &files, metadata: &metadata }, recipes, requirements, preferred)
}

fn resolve_with(
    index: &Index<'_>,
    recipes: &Recipes,
    requirements: &[Requirement],
    preferred: &BTreeMap<String, Version>,
) -> Result<Vec<Chosen>> {
    let provider = Provider {
        index,
        recipes,
        requirements,
        preferred,
        environment: Environment::sandbox(cpython::VERSION),
        candidates: RefCell::default(),
        dependencies: RefCell::default(),
        needed_by: RefCell::default(),
        failed: RefCell::default(),
    };
    let solution = match pubgrub::resolve(&provider, Unit::Root, root_version()) {
        Ok(solution) => solution,
        Err(PubGrubError::NoSolution(proof)) => {
            let available = |name: &str| provider.candidates.borrow().get(name).cloned().unwrap_or_default();
            let explanation = explain::explain(proof, &available);
            let words = || explanation.split(|c: char| c != '-' && !c.is_alphanumeric());
            let with_recipe = words().find(|it| !recipes.get(it).is_empty()).map(|name| {
                format!(
                    "{name} is built by a recipe, so only versions with one can be had; `cargo faasm recipe new {name}==VERSION` writes one"
                )
            });
            return Err(Error::Resolve { explanation, hint: with_recipe });
        }
        Err(
            PubGrubError::ErrorRetrievingDependencies { source, .. }
            | PubGrubError::ErrorChoosingVersion { source, .. },
        ) => return Err(source),
        Err(PubGrubError::ErrorInShouldCancel(source)) => return Err(source),
    };
    let versions: BTreeMap<String, Version> = solution
        .iter()
        .filter_map(|(unit, version)| match unit {
            Unit::Package(name) => Some((name.clone(), version.clone())),
            Unit::Root | Unit::Extra(..) => None,
        })
        .collect();
    let mut dependencies: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (unit, version) in solution.iter() {
        let (Unit::Package(name) | Unit::Extra(name, _)) = unit else { continue };
        for requirement in provider.required(unit, version)? {
            if requirement.name != *name {
                dependencies.entry(name.as_str()).or_default().push(requirement.name);
            }
        }
    }
    let mut chosen = Vec::new();
    for (name, version) in &versions {
        let candidates = provider.candidates(name)?;
        let Some((_, from)) = candidates.iter().find(|(candidate, _)| candidate == version) else { continue };
        let mut dependencies = dependencies.remove(name.as_str()).unwrap_or_default();
        dependencies.sort();
        dependencies.dedup();
        chosen.push(Chosen {
            name: name.clone(),
            version: version.clone(),
            from: from.clone(),
            dependencies,
        });
    }
    Ok(chosen)
}

/// Versions of a package with where they can be had, the newest first.
type Candidates = Rc<Vec<(Version, Candidate)>>;

/// What a version of a package says that it requires.
type Stated = Rc<Vec<Requirement>>;

struct Provider<'a> {
    index: &'a Index<'a>,
    recipes: &'a Recipes,
    requirements: &'a [Requirement],
    preferred: &'a BTreeMap<String, Version>,
    environment: Environment,
    candidates: RefCell<BTreeMap<String, Candidates>>,
    dependencies: RefCell<BTreeMap<(String, Version), Stated>>,
    /// Who was the first to need a package, for messages.
    needed_by: RefCell<BTreeMap<String, String>>,
    /// What went wrong where nothing can be told, and is told when a version is chosen. Nothing is asked after it: where the index
    /// cannot be reached, each question takes long.
    failed: RefCell<Option<Error>>,
}

impl Provider<'_> {
    /// What there is of a package. It is an error if there is nothing, since no other choice of versions is what people mean then.
    fn candidates(&self, name: &str) -> Result<Candidates> {
        if let Some(known) = self.candidates.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let recipes = self.recipes.get(name);
        let mut found: Vec<(Version, Candidate)> = recipes
            .iter()
            .filter(|it| !it.recipe.build.package_type.is_library())
            .filter_map(|it| {
                let version = Version::from_str(&it.recipe.package.version).ok()?;
                Some((version, Candidate::Recipe(Box::new(it.clone()))))
            })
            .collect();
        if found.is_empty() {
            let files = (self.index.files)(name)?;
            found = wheels(name, &files);
            if found.is_empty() {
                return Err(self.nothing(name, &files));
            }
        }
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        found.dedup_by(|(a, _), (b, _)| a == b);
        let found = Rc::new(found);
        self.candidates.borrow_mut().insert(name.to_owned(), Rc::clone(&found));
        Ok(found)
    }

    fn nothing(&self, name: &str, files: &[ProjectFile]) -> Error {
        let by =
            self.needed_by.borrow().get(name).map(|by| format!(", which {by} needs,")).unwrap_or_default();
        let (reason, hint) = if files.is_empty() {
            ("is not on the package index and has no recipe", "check the name".to_owned())
        } else {
            let hint = format!(
                "write a recipe with `cargo faasm recipe new {name}` and put its folder into `recipe-dirs`"
            );
            ("has neither a recipe nor a wheel in pure Python for our Python", hint)
        };
        Error::Resolve { explanation: format!("{name}{by} {reason}"), hint: Some(hint) }
    }

    fn stated(&self, name: &str, version: &Version) -> Result<Stated> {
        let key = (name.to_owned(), version.clone());
        if let Some(known) = self.dependencies.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let candidates = self.candidates(name)?;
        let texts: Vec<String> = match candidates.iter().find(|(candidate, _)| candidate == version) {
            Some((_, Candidate::Recipe(found))) => found.recipe.requirements.run.clone(),
            Some((_, Candidate::Wheel(file))) => {
                let metadata = Metadata::parse(&(self.index.metadata)(name, file)?);
                metadata.requirements().map(str::to_owned).collect()
            }
            None => Vec::new(),
        };
        let stated = texts.iter().map(|it| it.parse()).collect::<Result<Vec<Requirement>, _>>()?;
        let stated = Rc::new(stated);
        self.dependencies.borrow_mut().insert(key, Rc::clone(&stated));
        Ok(stated)
    }

    /// What a unit requires in the sandbox.
    fn required(&self, unit: &Unit, version: &Version) -> Result<Vec<Requirement>> {
        let applies =
            |requirement: &Requirement, extras: &[&str]| requirement.applies(&self.environment, extras);
        Ok(match unit {
            Unit::Root => self.requirements.iter().filter(|it| applies(it, &[])).cloned().collect(),
            Unit::Package(name) => {
                self.stated(name, version)?.iter().filter(|it| applies(it, &[])).cloned().collect()
            }
            Unit::Extra(name, extra) => {
                let stated = self.stated(name, version)?;
                let only = |it: &&Requirement| applies(it, &[extra]) && !applies(it, &[]);
                stated.iter().filter(only).cloned().collect()
            }
        })
    }

    /// Whether a version before a release may be chosen: when somebody asks for one, or there is nothing else.
    fn allows_prereleases(&self, name: &str, candidates: &Candidates) -> bool {
        let asked = |it: &Requirement| {
            it.name == name && it.versions.iter().any(pep440_rs::VersionSpecifier::any_prerelease)
        };
        self.requirements.iter().any(asked) || candidates.iter().all(|(version, _)| version.any_prerelease())
    }
}

impl DependencyProvider for Provider<'_> {
    type P = Unit;
    type V = Version;
    type VS = Ranges<Version>;
    type M = String;
    type Err = Error;
    /// Packages that made trouble first, then those with the fewest versions to choose from.
    type Priority = (u32, Reverse<usize>);

    fn prioritize(
        &self,
        unit: &Unit,
        range: &Ranges<Version>,
        conflicts: &PackageResolutionStatistics,
    ) -> Self::Priority {
        let count = match unit {
            Unit::Root => 0,
            Unit::Package(_) | Unit::Extra(..) if self.failed.borrow().is_some() => 0,
            Unit::Package(name) | Unit::Extra(name, _) => match self.candidates(name) {
                Ok(candidates) => candidates.iter().filter(|(version, _)| range.contains(version)).count(),
                Err(error) => {
                    *self.failed.borrow_mut() = Some(error);
                    0
                }
            },
        };
        (conflicts.conflict_count(), Reverse(count))
    }

    fn choose_version(&self, unit: &Unit, range: &Ranges<Version>) -> Result<Option<Version>> {
        let (Unit::Package(name) | Unit::Extra(name, _)) = unit else { return Ok(Some(root_version())) };
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let candidates = self.candidates(name)?;
        if let Some(version) = self.preferred.get(name)
            && range.contains(version)
            && candidates.iter().any(|(candidate, _)| candidate == version)
        {
            return Ok(Some(version.clone()));
        }
        let prereleases = self.allows_prereleases(name, &candidates);
        let withdrawn =
            |candidate: &Candidate| matches!(candidate, Candidate::Wheel(file) if file.is_yanked());
        let fits = |version: &Version, candidate: &Candidate| {
            range.contains(version)
                && (prereleases || !version.any_prerelease())
                // As pip has it, what was withdrawn is for those alone who name exactly that version.
                && (!withdrawn(candidate) || range.as_singleton().is_some())
        };
        let found = candidates.iter().find(|(version, candidate)| fits(version, candidate));
        Ok(found.map(|(version, _)| version.clone()))
    }

    fn get_dependencies(
        &self,
        unit: &Unit,
        version: &Version,
    ) -> Result<Dependencies<Unit, Ranges<Version>, String>> {
        let required = match self.required(unit, version) {
            Ok(required) => required,
            // Other versions may say it better.
            Err(Error::Requirement(error)) => return Ok(Dependencies::Unavailable(error.to_string())),
            Err(error) => return Err(error),
        };
        let mut ranges: Vec<(Unit, Ranges<Version>)> = Vec::new();
        let mut add =
            |unit: Unit, range: Ranges<Version>| match ranges.iter_mut().find(|(known, _)| *known == unit) {
                Some((_, known)) => *known = known.intersection(&range),
                None => ranges.push((unit, range)),
            };
        if let Unit::Extra(name, _) = unit {
            add(Unit::Package(name.clone()), Ranges::singleton(version.clone()));
        }
        for requirement in required {
            if let Some(url) = &requirement.url {
                let reason = format!(
                    "{} is wanted from {url}, and only recipes and the index are used",
                    requirement.name
                );
                return Ok(Dependencies::Unavailable(reason));
            }
            let mut needed_by = self.needed_by.borrow_mut();
            if !needed_by.contains_key(&requirement.name) && *unit != Unit::Root {
                needed_by.insert(requirement.name.clone(), format!("{unit} {version}"));
            }
            let range = Ranges::from(requirement.versions.clone());
            for extra in &requirement.extras {
                add(Unit::Extra(requirement.name.clone(), extra.clone()), range.clone());
            }
            add(Unit::Package(requirement.name), range);
        }
        Ok(Dependencies::Available(ranges.into_iter().collect()))
    }
}

/// The wheels in pure Python that our Python can run. A file without a hash cannot be locked.
fn wheels(project: &str, files: &[ProjectFile]) -> Vec<(Version, Candidate)> {
    let python = Version::from_str(cpython::VERSION).unwrap_or_else(|_| root_version());
    let runs = |file: &ProjectFile| {
        // What cannot be understood restricts nothing, as pip has it.
        let specifiers = file.requires_python.as_deref().and_then(|it| VersionSpecifiers::from_str(it).ok());
        specifiers.is_none_or(|it| it.contains(&python))
    };
    let usable = files.iter().filter(|file| file.sha256().is_some() && runs(file));
    usable
        .filter_map(|file| {
            let version = file_name::pure_wheel_of(project, &file.name)?;
            Some((version, Candidate::Wheel(Box::new(file.clone()))))
        })
        .collect()
}

fn root_version() -> Version {
    Version::new([0])
}

#[cfg(test)]
mod tests;
