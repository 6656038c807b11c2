//! Reading recipes, and what is wrong with those that cannot be read.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Location;

use crate::recipe::Recipe;

/// The name of the file in a recipe's directory.
pub const FILE_NAME: &str = "meta.yaml";

/// Recipes are short. More than this is a mistake, and not read.
const MAX_BYTES: u64 = 1 << 20;

/// Where in a file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: u64,
    /// The character in the line, from 1.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl Place {
    /// `None` for a location that is not known, which has zeros.
    pub(crate) fn from_location(location: Location) -> Option<Self> {
        let place = Self { line: location.line(), column: location.column() };
        (place.line > 0).then_some(place)
    }
}

/// Why a recipe could not be read. A message is a fragment that continues "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused it.
    #[error("read the recipe {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is no YAML, or no recipe.
    #[error("read the recipe {}{}: {reason}", path.display(), at(*place))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where in it, if that is known.
        place: Option<Place>,
        /// What is wrong there.
        reason: String,
        /// What is probably meant.
        suggestion: Option<String>,
    },
}

impl Error {
    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { suggestion: Some(suggestion), .. } => {
                Some(format!("did you mean `{suggestion}`?"))
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(format!(
                "a recipe is a directory with a `{FILE_NAME}`; `cargo faasm recipe new` writes one"
            )),
            Self::Io { .. } | Self::Syntax { .. } => None,
        }
    }
}

fn at(place: Option<Place>) -> String {
    place.map_or_else(String::new, |place| format!(", {place}"))
}

impl Recipe {
    /// Reads the recipe in a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no such file, and those of [`Recipe::parse`].
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE_NAME);
        Self::parse(&read_text(&path)?, &path)
    }

    /// Reads a recipe from a text. `path` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`] when it is no YAML, has a key that the schema does not know, lacks one that it needs, or
    /// has a value of another type.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        deserialize(text, path)
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    let refuse = |source| Error::Io { path: path.to_path_buf(), source };
    if fs::metadata(path).map_err(refuse)?.len() > MAX_BYTES {
        return Err(refuse(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 1 MiB")));
    }
    fs::read_to_string(path).map_err(refuse)
}

pub(crate) fn deserialize<T: for<'de> Deserialize<'de>>(text: &str, path: &Path) -> Result<T, Error> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error, path))
}

fn explain(error: &serde_saphyr::Error, path: &Path) -> Error {
    use serde_saphyr::Error as Yaml;

    let place = error.location().and_then(Place::from_location);
    let (reason, suggestion) = match error {
        Yaml::SerdeUnknownField { field, expected, .. } => (
            format!("there is no key `{field}` here; there are {}", list(expected)),
            similar(field, expected),
        ),
        Yaml::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("`{variant}` is none of {}", list(expected)), similar(variant, expected))
        }
        Yaml::SerdeMissingField { field, .. } => (format!("the key `{field}` is missing"), None),
        other => {
            // The place is told once, by us.
            let text = other.render();
            let text = text.split(" at line ").next().unwrap_or_default();
            (text.trim_end_matches([',', ':']).to_owned(), None)
        }
    };
    Error::Syntax { path: path.to_path_buf(), place, reason, suggestion }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The one of `known` that `word` is probably meant to be.
pub(crate) fn similar(word: &str, known: &[&str]) -> Option<String> {
    let plain = |text: &str| text.trim_start_matches('_').replace('_', "-").to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&plain(word), &plain(name));
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) > 0.8).then(|| (*best).to_owned())
}

#[cfg(test)]
mod tests;
