//! Python packages in images.

mod draft;
mod file_name;
mod metadata;

pub use draft::{Draft, draft};
