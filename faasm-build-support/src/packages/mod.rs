//! Python packages in images: which ones, in which versions, and how they are built.

pub mod build;
mod draft;
mod export;
mod file_name;
mod hashes;
mod imports;
pub(crate) mod inittab;
pub(crate) mod install;
pub mod lock;
mod metadata;
mod project;
mod recipes;
mod requirements_file;
mod resolve;
pub(crate) mod select;
mod wheel;

pub use draft::{Draft, draft};
pub use export::export;
pub use hashes::Hashes;
pub use project::Project;
pub use recipes::{Found, Recipes, readable as readable_recipes};
pub use select::{build_recipe, unpack_source};
