//! What a server runs when it is started.
//!
//! The last instruction counts. A command line names a runtime, and what the server is upgraded to after that takes the place of it, also
//! after a restart with the same command line. A command line that names something else is the newer instruction.

use std::fs;
use std::path::{Path, PathBuf};

use faasm_bundle::Location;
use sha2::{Digest as _, Sha256};

use crate::registry::{Registry, RegistryError, Storage};

/// What a server was told to run when it was started: the content of what is on this machine, else where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(pub(super) String);

impl Named {
    /// The runtime in a bundle. What cannot be read is `None`, and to be reported by who wants to run it.
    pub fn bundle(location: &Location) -> Option<Self> {
        match location {
            Location::Path(path) => Self::content(path),
            Location::Url(_) => Some(Self(location.to_string())),
        }
    }

    /// The image in a directory. What cannot be read is `None`, and to be reported by who wants to run it.
    pub fn image(directory: &Path) -> Option<Self> {
        Self::content(&directory.join("manifest.json"))
    }

    fn content(path: &Path) -> Option<Self> {
        let content = fs::read(path).ok()?;
        Some(Self(Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

/// What a server runs when it is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// What it was told; if that is nothing, the store's runtime, or else what there is.
    Named,
    /// The runtime in this bundle, which the storage has chosen.
    Bundle(String),
    /// The image in this directory, to which the server was upgraded.
    Image(PathBuf),
}

impl First {
    /// What is to be run on this store. A storage that is not shared has no say in it.
    ///
    /// # Errors
    ///
    /// When the store or the storage cannot be read.
    pub fn choose(
        store: &Registry,
        storage: Option<&dyn Storage>,
        named: Option<&Named>,
    ) -> Result<Self, RegistryError> {
        let named = named.map(|it| &it.0);
        if let Some(storage) = storage.filter(|it| it.is_shared()) {
            let chosen = storage.bundle()?.filter(|it| named.is_none() || it.instead_of.as_ref() == named);
            return Ok(chosen.map_or(Self::Named, |it| Self::Bundle(it.place)));
        }
        // Who names nothing wants the store's runtime, which an upgrade has changed.
        let upgraded = store.upgraded()?.filter(|it| named.is_some() && it.named.as_ref() == named);
        Ok(upgraded.map_or(Self::Named, |it| Self::Image(it.running.image)))
    }
}
