//! Recipes: how a Python package, or a C library that packages need, is built for the sandbox.
//!
//! A recipe is a directory with a `meta.yaml` in the schema of pyodide-build
//! (<https://pyodide-build.readthedocs.io/en/latest/reference/recipe-spec/>), so that recipes which people have
//! can be used, and with the patches that it names. This crate reads, checks and writes such files. It builds
//! nothing, asks no network, and knows nothing of where recipes lie.
//!
//! Added to the schema are `source.pypi`, `source.debian`, `source.crate`, `test.suite`, `test.requires` and `test.source-files`.

mod check;
mod marker;
mod name;
mod parse;
mod places;
mod recipe;
mod requirement;
mod write;

pub use check::{Finding, Severity, check, host_cycle};
pub use marker::{Environment, Marker, Operand, Operator};
pub use name::normalized;
pub use parse::{Error, FILE_NAME, Place};
pub use recipe::{About, Build, Exports, Package, PackageType, Recipe, Requirements, Source, Test};
pub use requirement::{BadRequirement, Requirement};
