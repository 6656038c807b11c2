//! Environment markers: the part of a requirement behind the semicolon.
//!
//! See <https://packaging.python.org/en/latest/specifications/dependency-specifiers/#environment-markers>.

use std::fmt;
use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifier};

use crate::name::normalized;

/// The variables that a marker may compare.
pub(crate) const VARIABLES: [&str; 11] = [
    "implementation_name",
    "implementation_version",
    "os_name",
    "platform_machine",
    "platform_python_implementation",
    "platform_release",
    "platform_system",
    "platform_version",
    "python_full_version",
    "python_version",
    "sys_platform",
];

/// The values of the variables, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment([String; VARIABLES.len()]);

impl Environment {
    /// The sandbox's, with this version of CPython, such as `3.13.5`.
    pub fn sandbox(python: &str) -> Self {
        let minor = python.match_indices('.').nth(1).map_or(python, |(at, _)| &python[..at]);
        let values = [
            "cpython", python, "posix", "wasm32", "CPython", "0.0.0", "wasi", "0.0.0", python, minor, "wasi",
        ];
        Self(values.map(str::to_owned))
    }

    /// That of the machine this runs on, with this version of CPython: what a package is built with runs there.
    pub fn machine(python: &str) -> Self {
        let minor = python.match_indices('.').nth(1).map_or(python, |(at, _)| &python[..at]);
        let (system, platform) =
            if cfg!(target_os = "macos") { ("Darwin", "darwin") } else { ("Linux", "linux") };
        let machine = std::env::consts::ARCH;
        let values =
            ["cpython", python, "posix", machine, "CPython", "", system, "", python, minor, platform];
        Self(values.map(str::to_owned))
    }

    fn get(&self, variable: usize) -> &str {
        self.0.get(variable).map_or("", String::as_str)
    }
}

/// A condition on the environment, and on the extras that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    /// All of them.
    And(Vec<Marker>),
    /// Any of them.
    Or(Vec<Marker>),
    /// A comparison.
    Compare(Operand, Operator, Operand),
}

/// A side of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// One of the environment's variables, by its place among them.
    Variable(usize),
    /// Each of the extras that are asked for.
    Extra,
    /// A quoted text.
    Text(String),
}

/// How two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `~=`
    Compatible,
    /// `===`
    Arbitrary,
    /// `in`
    In,
    /// `not in`
    NotIn,
}

impl Operator {
    /// Every operator but `not in` with how it is written; what begins with another one comes before that.
    pub(crate) const WRITTEN: [(&str, Self); 9] = [
        ("===", Self::Arbitrary),
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<=", Self::LessOrEqual),
        ("<", Self::Less),
        (">=", Self::GreaterOrEqual),
        (">", Self::Greater),
        ("~=", Self::Compatible),
        ("in", Self::In),
    ];

    fn written(self) -> &'static str {
        Self::WRITTEN.iter().find(|(_, it)| *it == self).map_or("not in", |(text, _)| text)
    }
}

impl Marker {
    /// Whether it holds in an environment when these extras, with normalised names, are asked for.
    pub fn holds(&self, environment: &Environment, extras: &[&str]) -> bool {
        match self {
            Self::And(all) => all.iter().all(|it| it.holds(environment, extras)),
            Self::Or(any) => any.iter().any(|it| it.holds(environment, extras)),
            Self::Compare(left, operator, right) => match (left, right) {
                (Operand::Extra, Operand::Text(text)) | (Operand::Text(text), Operand::Extra) => {
                    let name = normalized(text).unwrap_or_default();
                    extras.contains(&name.as_str()) != (*operator == Operator::NotEqual)
                }
                (left, right) => compare(value(left, environment), *operator, value(right, environment)),
            },
        }
    }
}

fn value<'a>(operand: &'a Operand, environment: &'a Environment) -> &'a str {
    match operand {
        Operand::Variable(variable) => environment.get(*variable),
        Operand::Text(text) => text,
        // Compared with anything but a text, which says nothing.
        Operand::Extra => "",
    }
}

/// Compares as versions where both sides are some, as texts otherwise.
fn compare(left: &str, operator: Operator, right: &str) -> bool {
    match operator {
        Operator::In => return right.contains(left),
        Operator::NotIn => return !right.contains(left),
        Operator::Arbitrary => return left.eq_ignore_ascii_case(right),
        _ => {}
    }
    let specifier = VersionSpecifier::from_str(&format!("{}{right}", operator.written()));
    if let (Ok(version), Ok(specifier)) = (Version::from_str(left), specifier) {
        return specifier.contains(&version);
    }
    match operator {
        Operator::Equal => left == right,
        Operator::NotEqual => left != right,
        Operator::Less => left < right,
        Operator::LessOrEqual => left <= right,
        Operator::Greater => left > right,
        Operator::GreaterOrEqual => left >= right,
        Operator::Compatible | Operator::Arbitrary | Operator::In | Operator::NotIn => false,
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: &[Marker], word: &str| {
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Self::Compare(..) => write!(f, "{part}")?,
                    group => write!(f, "({group})")?,
                }
            }
            Ok(())
        };
        match self {
            Self::And(parts) => join(f, parts, "and"),
            Self::Or(parts) => join(f, parts, "or"),
            Self::Compare(left, operator, right) => write!(f, "{left} {} {right}", operator.written()),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(variable) => f.write_str(VARIABLES.get(*variable).unwrap_or(&"")),
            Self::Extra => f.write_str("extra"),
            // The grammar has no escapes, so a text has at most one kind of quotes.
            Self::Text(text) if text.contains('\'') => write!(f, "\"{text}\""),
            Self::Text(text) => write!(f, "'{text}'"),
        }
    }
}
