//! What a server runs when it is started.
//!
//! The last instruction counts. A command line names a runtime, and what the server is upgraded to after that takes the place of it, also
//! after a restart with the same command line. A command line that names something else is the newer instruction.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use faasm_bundle::Location;
use faasm_image::Image;
use sha2::{Digest as _, Sha256};

use crate::registry::{Choice, InUse, Registry, RegistryError, Storage, StoredRuntime};

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
#[derive(Clone, Debug)]
pub enum First {
    /// What it was told; if that is nothing, the store's runtime, or else what there is.
    Named,
    /// What it was upgraded to, or those with which it shares its functions.
    Upgraded(StartImage),
    /// What there is besides the store's runtime, which cannot be run.
    Other,
}

/// An image to start with, which stays there as long as this lives.
#[derive(Clone, Debug)]
pub struct StartImage {
    /// Its directory.
    pub directory: PathBuf,
    /// Where the bundle is in which it came, if the servers on a storage have it from there.
    pub bundle: Option<String>,
    _in_use: Option<Arc<InUse>>,
}

impl First {
    /// What is to be run on this store. A storage that is not shared has no say in it. `fetch` is asked for the runtime in a bundle, and
    /// `warn` is told what cannot be run.
    ///
    /// # Errors
    ///
    /// When the store or the storage cannot be read.
    pub fn choose<E: Display>(
        store: &Registry,
        storage: Option<&dyn Storage>,
        named: Option<&Named>,
        fetch: impl Fn(&str) -> Result<StoredRuntime, E>,
        warn: impl Fn(&str),
    ) -> Result<Self, RegistryError> {
        let named = named.map(|it| &it.0);
        let skipped = |what: &str, why: &dyn Display| {
            warn(&format!("{what} cannot be run, and another runtime takes its place: failed to {why:#}"));
        };
        if let Some(storage) = storage.filter(|it| it.is_shared()) {
            let chosen = storage.bundle()?.filter(|it| named.is_none() || it.instead_of.as_ref() == named);
            match chosen.map(|it| (fetch(&it.place), it.place)) {
                Some((Ok(StoredRuntime { image: directory, in_use: _in_use, .. }), place)) => {
                    return Ok(Self::Upgraded(StartImage { directory, bundle: Some(place), _in_use }));
                }
                Some((Err(error), place)) => {
                    // As it is written, it may have credentials.
                    let place = Location::parse(&place).map(|it| it.to_string()).unwrap_or_default();
                    skipped(&format!("what servers were upgraded to, {place},"), &error);
                }
                None => {}
            }
        } else if named.is_some()
            // Who names nothing wants the store's runtime, which an upgrade has changed.
            && let Some(upgraded) = store.upgraded()?.filter(|it| it.named.as_ref() == named)
        {
            let Choice { image: directory, in_use: _in_use, .. } = upgraded.running;
            match open(&directory) {
                Ok(()) => return Ok(Self::Upgraded(StartImage { directory, bundle: None, _in_use })),
                Err(error) => skipped("what this server was upgraded to", &error),
            }
        }
        if named.is_none()
            && let Some(stored) = store.runtime()?
            && let Err(error) = open(&stored.image)
        {
            skipped("the runtime of the store", &error);
            return Ok(Self::Other);
        }
        Ok(Self::Named)
    }
}

/// Finds out whether an image can be run here, which may have changed since it was made, or this program.
pub(super) fn open(directory: &Path) -> faasm_image::Result<()> {
    let image = Image::open(directory)?;
    image.load_code()?;
    image.base().map(drop)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn a_runtime_of_the_store_that_cannot_be_run_is_not_the_one_to_start_with() {
        let directory = tempfile::tempdir().unwrap();
        let store = Registry::new(directory.path());
        let warnings = RefCell::new(Vec::new());
        let choose = |named: Option<&Named>| {
            let fetch = |_: &str| Err::<StoredRuntime, _>("nothing is fetched");
            First::choose(&store, None, named, fetch, |text| warnings.borrow_mut().push(text.to_owned()))
                .unwrap()
        };
        assert!(matches!(choose(None), First::Named));
        for name in ["lock", "runtime.json"] {
            fs::write(directory.path().join(name), r#"{"python": "3", "sha256": "1", "uploaded": 1}"#)
                .unwrap();
        }
        assert!(matches!(choose(Some(&Named("other".to_owned()))), First::Named));
        assert_eq!(*warnings.borrow(), [""; 0]);
        assert!(matches!(choose(None), First::Other));
        assert_eq!(warnings.borrow().len(), 1);
        assert!(warnings.borrow()[0].starts_with("the runtime of the store cannot be run"), "{warnings:?}");
    }
}
