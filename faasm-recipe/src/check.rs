//! The lint: what in a recipe that can be read is wrong, doubtful, or has no effect here.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::parse::{Error, FILE_NAME, Place, deserialize, read_text};
use crate::places::Places;
use crate::recipe::Recipe;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be built, or something else than what was meant would be.
    Error,
    /// It can be built, but something in it is probably not meant.
    Warning,
    /// It has no effect here. Recipes for pyodide have such things, rightly.
    Note,
}

/// Something about a recipe that its author should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The recipe's file.
    pub path: PathBuf,
    /// Where in the file it is.
    pub place: Option<Place>,
    /// The key that it is about, as a path: `source/sha256`.
    pub key: String,
    /// What it is: a sentence without a full stop.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(place) = self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}: {}", self.key, self.message)
    }
}

/// Checks the recipe in a directory. `others` are all recipes that there are, by normalised name; the one that is
/// checked may be among them or not.
///
/// # Errors
///
/// Those of [`Recipe::read`]. What is wrong in a recipe that can be read is a finding.
pub fn check(directory: &Path, others: &BTreeMap<String, Recipe>) -> Result<Vec<Finding>, Error> {
    let path = directory.join(FILE_NAME);
    let text = read_text(&path)?;
    let recipe: Recipe = deserialize(&text, &path)?;
    let mut report = Report { path: &path, places: Places::of(&text), findings: Vec::new() };
    rules::check(&mut report, directory, &recipe, others);
    let mut findings = report.findings;
    findings.sort_by_key(|it| (it.severity, it.place));
    Ok(findings)
}

/// The way from a recipe through what it needs to be built back to itself, if there is one: the names on it,
/// beginning and ending with its own.
pub fn host_cycle(recipe: &Recipe, others: &BTreeMap<String, Recipe>) -> Option<Vec<String>> {
    let start = recipe.name();
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![start.clone()]];
    while let Some(way) = ways.pop() {
        let last = way.last().map_or(start.as_str(), String::as_str);
        let current = if last == start { recipe } else { others.get(last)? };
        for host in current.requirements.host.iter().filter_map(|it| crate::normalized(it)) {
            let longer = || way.iter().cloned().chain([host.clone()]).collect::<Vec<_>>();
            if host == start {
                return Some(longer());
            }
            if others.contains_key(&host) && seen.insert(host.clone()) {
                ways.push(longer());
            }
        }
    }
    None
}

/// Findings in the making.
struct Report<'a> {
    path: &'a Path,
    places: Places,
    findings: Vec<Finding>,
}

impl Report<'_> {
    fn add(&mut self, severity: Severity, key: impl Into<String>, message: impl Into<String>) {
        let key = key.into();
        let (path, place) = (self.path.to_path_buf(), self.places.get(&key));
        self.findings.push(Finding { severity, path, place, key, message: message.into() });
    }

    fn error(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, key, message);
    }

    fn warn(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, key, message);
    }

    fn note(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Note, key, message);
    }
}

#[cfg(test)]
mod tests;
