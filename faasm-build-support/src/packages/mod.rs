//! Python packages in images.

pub mod build;
