//! Python packages in images.

pub mod build;
pub(crate) mod inittab;
pub(crate) mod install;
mod recipes;
pub(crate) mod select;
