//! What versions are chosen for.

use std::fmt;

/// What PubGrub takes for a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Unit {
    /// What is asked for.
    Root,
    /// A package without extras.
    Package(String),
    /// What an extra of a package requires in addition. It requires the package in the same version.
    Extra(String, String),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("you"),
            Self::Package(name) => f.write_str(name),
            Self::Extra(name, extra) => write!(f, "{name}[{extra}]"),
        }
    }
}
