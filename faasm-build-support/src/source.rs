//! Where the files that a build starts from come from.
//!
//! Every file is pinned by its SHA-256 ([`pin`]), so no mirror has to be trusted. Package index and archive
//! are those that the machine is already set up to use; their host names are asked for, never written down
//! here.

pub(crate) mod crates;
pub mod debian;
mod download;
mod http;
mod index;
pub mod pin;
mod pip;
#[cfg(test)]
mod test_server;
mod unpack;

pub use download::fetch;
pub(crate) use download::{project_files, wheel_metadata};
pub(crate) use index::File as ProjectFile;
pub(crate) use unpack::read_wheel_metadata;
pub use unpack::unpack;
