//! Python packages in images.

pub mod build;
mod draft;
mod file_name;
pub(crate) mod inittab;
pub(crate) mod install;
mod metadata;
mod recipes;
pub(crate) mod select;

pub use draft::{Draft, draft};
pub use recipes::{Found, Recipes};
