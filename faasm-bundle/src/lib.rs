//! Bundles: a runtime as one file, which can be carried to another machine and trusted there.
//!
//! A bundle is an archive (`tar`, compressed with Zstandard). Its first file, `manifest.json`, names all others, in the order in which
//! they follow, with length and SHA-256:
//!
//! ```text
//! manifest.json                     see [`Manifest`]
//! code/<target>.cwasm               machine code, if it was asked for
//! functions/<user>/<name>.py        functions, if they were asked for
//! image/base.mem                    the memory after initialisation
//! image/py_func.wasm                the WebAssembly module
//! image/root/…                      the files its guests see as `/`
//! licenses/<component>/…            licences of what is linked
//! sbom.cdx.json                     the bill of materials (CycloneDX 1.6)
//! ```
//!
//! What can be made again is left out: the memory before the first instruction, and, unless it is asked for, machine code. The same
//! contents make the same bytes: entries are sorted, and have no times, owners and places. A [signature](sign) is a file of its own.
//!
//! Whoever reads a bundle ([`Bundle`]) writes nothing that the manifest does not name, and gets an image ([`install`]) only when all of
//! it was as it should be. Bundles lie in directories and object stores ([`Location`]); what is published there replaces nothing unless
//! that is asked for.

mod error;
mod hash;
mod install;
mod manifest;
pub mod oci;
mod place;
mod read;
pub mod sbom;
pub mod sign;
mod write;

pub use error::{Error, Result};
pub use install::{DIRECTORY, Installed, MachineCode, install};
pub use manifest::{CodePart, EXTENSION, FORMAT, FilePart, FunctionPart, ImagePart, Manifest, PORTABLE};
pub use place::{Downloaded, Listed, Location, Object, Objects, OnBytes, Publication, Tag, publish};
pub use read::{Bundle, Limits};
pub use sign::{PublicKey, SIGNATURE_EXTENSION};
pub use write::{Contents, DEFAULT_COMPRESSION, Function, HIGHEST_COMPRESSION, Target, Written, write};

#[cfg(test)]
mod tests;
