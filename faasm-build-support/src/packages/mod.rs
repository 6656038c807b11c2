//! Python packages in images.

mod draft;
mod file_name;
pub mod lock;
mod metadata;
mod recipes;
mod resolve;
mod tests_of;
pub mod wheel;

pub use draft::{Draft, draft};
pub use recipes::{Found, Recipes};
