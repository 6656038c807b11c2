//! Python packages in images.

pub mod build;
mod draft;
mod file_name;
pub(crate) mod inittab;
pub(crate) mod install;
pub mod lock;
mod metadata;
mod recipes;
mod resolve;
pub(crate) mod select;
mod tests_of;
pub mod wheel;

pub use draft::{Draft, draft};
pub use recipes::{Found, Recipes};
