//! Requirements: which package is needed, in which versions, and when.
//!
//! The grammar is that of
//! <https://packaging.python.org/en/latest/specifications/dependency-specifiers/> (PEP 508). Versions are
//! left to `pep440_rs`. (The crate `pep508_rs` would do, but turns features of `serde` on, with which everything
//! that an image is built with would be compiled twice.)

use std::fmt;
use std::str::FromStr;

use pep440_rs::VersionSpecifiers;

use crate::marker::{Environment, Marker, Operand, Operator, VARIABLES};
use crate::name::normalized;

/// Markers nest in practice once or twice. A text may be anything, and the stack is limited.
const MAX_DEPTH: usize = 32;

/// A PEP 508 requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// The package's normalised name.
    pub name: String,
    /// The normalised names of the extras that are asked for, sorted.
    pub extras: Vec<String>,
    /// The versions that will do.
    pub versions: VersionSpecifiers,
    /// Where the package is, when that is said instead of versions.
    pub url: Option<String>,
    /// When it is needed; always, if `None`.
    pub marker: Option<Marker>,
}

impl Requirement {
    /// Whether it is needed in an environment when these extras of the package that states it are asked for.
    pub fn applies(&self, environment: &Environment, extras: &[&str]) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.holds(environment, extras))
    }
}

/// Why a text is no requirement. Continues "failed to …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use the requirement `{text}`: {reason}")]
pub struct BadRequirement {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for Requirement {
    type Err = BadRequirement;

    fn from_str(text: &str) -> Result<Self, BadRequirement> {
        let mut parser = Parser { rest: text.trim() };
        parser.requirement().map_err(|reason| BadRequirement { text: text.to_owned(), reason })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            write!(f, "[{}]", self.extras.join(","))?;
        }
        match &self.url {
            Some(url) => write!(f, " @ {url}")?,
            None => f.write_str(&self.versions.to_string().replace(' ', ""))?,
        }
        match &self.marker {
            // A URL would otherwise go on.
            Some(marker) if self.url.is_some() => write!(f, " ; {marker}"),
            Some(marker) => write!(f, "; {marker}"),
            None => Ok(()),
        }
    }
}

struct Parser<'a> {
    /// Begins with no white space between two tokens.
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirement(&mut self) -> Result<Requirement, String> {
        let word = self.take_while(|c| c.is_alphanumeric() || "-_.".contains(c));
        let name = normalized(word).ok_or_else(|| match word {
            "" => "it does not begin with the name of a package".to_owned(),
            word => format!("`{word}` is not the name of a package"),
        })?;
        let extras = if self.eat("[") { self.extras()? } else { Vec::new() };
        let (mut versions, mut url) = (VersionSpecifiers::empty(), None);
        if self.eat("@") {
            let place = self.take_while(|c| !c.is_whitespace());
            if place.is_empty() {
                return Err("there is no URL after `@`".to_owned());
            }
            url = Some(place.to_owned());
        } else {
            versions = self.versions()?;
        }
        let marker = if self.eat(";") { Some(self.any(0)?) } else { None };
        if !self.rest.is_empty() {
            return Err(format!("`{}` was not expected", self.rest));
        }
        Ok(Requirement { name, extras, versions, url, marker })
    }

    fn extras(&mut self) -> Result<Vec<String>, String> {
        let mut extras = Vec::new();
        while !self.eat("]") {
            let word = self.take_while(|c| c.is_alphanumeric() || "-_.".contains(c));
            extras.push(normalized(word).ok_or_else(|| format!("`{word}` is not the name of an extra"))?);
            if !self.eat(",") && !self.rest.starts_with(']') {
                return Err("the list of extras does not end with `]`".to_owned());
            }
        }
        extras.sort();
        extras.dedup();
        Ok(extras)
    }

    fn versions(&mut self) -> Result<VersionSpecifiers, String> {
        let closing = self.eat("(");
        let text = self.take_while(|c| c != ';' && c != ')').trim_end().trim_end_matches(',');
        if closing && !self.eat(")") {
            return Err("the versions do not end with `)`".to_owned());
        }
        if text.is_empty() {
            return Ok(VersionSpecifiers::empty());
        }
        if !text.starts_with(['<', '>', '=', '!', '~']) {
            return Err(format!("`{text}` is no version with an operator such as `==` or `>=`"));
        }
        VersionSpecifiers::from_str(text).map_err(|error| first_line(&error.to_string()))
    }

    fn any(&mut self, depth: usize) -> Result<Marker, String> {
        let mut parts = vec![self.all(depth)?];
        while self.eat_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Marker::Or))
    }

    fn all(&mut self, depth: usize) -> Result<Marker, String> {
        let mut parts = vec![self.term(depth)?];
        while self.eat_word("and") {
            parts.push(self.term(depth)?);
        }
        Ok(one_or(parts, Marker::And))
    }

    fn term(&mut self, depth: usize) -> Result<Marker, String> {
        if depth > MAX_DEPTH {
            return Err("the marker has too many parentheses".to_owned());
        }
        if self.eat("(") {
            let inner = self.any(depth + 1)?;
            return if self.eat(")") { Ok(inner) } else { Err("a `)` is missing in the marker".to_owned()) };
        }
        let left = self.operand()?;
        let operator = self.operator()?;
        let right = self.operand()?;
        Ok(Marker::Compare(left, operator, right))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        for quote in ["'", "\""] {
            let Some(rest) = self.rest.strip_prefix(quote) else { continue };
            let (text, rest) = rest.split_once(quote).ok_or("a quoted text in the marker does not end")?;
            self.rest = rest.trim_start();
            return Ok(Operand::Text(text.to_owned()));
        }
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        // Names of before PEP 508, which some old packages have.
        let word = match word {
            "os.name" => "os_name",
            "sys.platform" => "sys_platform",
            "platform.version" => "platform_version",
            "platform.machine" => "platform_machine",
            "platform.python_implementation" | "python_implementation" => "platform_python_implementation",
            "extra" => return Ok(Operand::Extra),
            word => word,
        };
        match VARIABLES.iter().position(|it| *it == word) {
            Some(variable) => Ok(Operand::Variable(variable)),
            None if word.is_empty() => Err("the marker is not complete".to_owned()),
            None => Err(format!("there is no variable `{word}` in markers")),
        }
    }

    fn operator(&mut self) -> Result<Operator, String> {
        if self.eat_word("not") {
            return if self.eat_word("in") {
                Ok(Operator::NotIn)
            } else {
                Err("`not` needs an `in`".to_owned())
            };
        }
        let found = Operator::WRITTEN.into_iter().find(|(text, _)| self.eat(text));
        found
            .map(|(_, operator)| operator)
            .ok_or_else(|| "a comparison in the marker has no operator".to_owned())
    }

    fn eat(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest.trim_start();
        true
    }

    /// Like [`Parser::eat`] for a word, which must not go on.
    fn eat_word(&mut self, word: &str) -> bool {
        let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        self.rest.strip_prefix(word).is_some_and(|rest| !goes_on(rest)) && self.eat(word)
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        taken
    }
}

fn one_or(mut parts: Vec<Marker>, group: impl Fn(Vec<Marker>) -> Marker) -> Marker {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            group(parts)
        }
    }
}

/// The errors of `pep440_rs` show the text once more below.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}

#[cfg(test)]
mod tests;
