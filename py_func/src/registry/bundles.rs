//! Runtimes and functions that come in bundles.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use faasm_bundle::{
    Bundle, DIRECTORY, Function, Limits, Location, MachineCode, Manifest, OnBytes, PublicKey,
};
use faasm_image::Image;
use tempfile::TempDir;

use super::files::{self, Lock, io};
use super::{RUNTIME, Registry, RegistryError, Result, Storage, StoredRuntime, check_function_name, hash};
use crate::package;

/// Which bundle is fetched, and how far it is trusted.
///
/// Whatever a bundle has runs in sandboxes, except machine code. That is used only of a bundle that was signed by a key which is trusted,
/// or of a file of this machine which is installed as a program would be. Of all others the WebAssembly is compiled here.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Where it is.
    pub location: Location,
    /// The key by which it must be signed.
    pub key: Option<PublicKey>,
    /// Whether its machine code is trusted because it is a file of this machine.
    pub trust_local: bool,
}

/// A bundle that was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The runtime, which is the store's now.
    pub runtime: StoredRuntime,
    /// What the bundle has.
    pub manifest: Manifest,
    /// Whether it was there before.
    pub was_there: bool,
    /// Whether its machine code was made here.
    pub compiled: bool,
    /// Functions that were added, by user and name.
    pub added: Vec<(String, String)>,
    /// Functions that were left as they are, because the store has another version.
    pub kept: Vec<(String, String)>,
}

impl Registry {
    /// Makes the runtime in a bundle the store's, and adds its functions to `storage`. Those of which that has another version are left
    /// alone. `progress` is told what is done, `on_bytes` how much of a download is there.
    ///
    /// One bundle is fetched at a time. Others go on to use the store meanwhile. Being killed leaves the store as it was, and what was
    /// downloaded until then is not downloaded again.
    ///
    /// # Errors
    ///
    /// When the bundle cannot be had, is damaged, or is not signed as it should be, or the store or the storage cannot be written.
    pub fn fetch(
        &self,
        fetch: &Fetch,
        storage: &dyn Storage,
        progress: &dyn Fn(&str),
        on_bytes: OnBytes<'_>,
    ) -> Result<Fetched> {
        let fetched = self.fetch_beside(fetch, storage, progress, on_bytes)?;
        self.choose(Some(&fetched.runtime.sha256))?;
        Ok(fetched)
    }

    /// Does the same, except that the store's runtime stays the one that it was.
    pub(crate) fn fetch_beside(
        &self,
        fetch: &Fetch,
        storage: &dyn Storage,
        progress: &dyn Fn(&str),
        on_bytes: OnBytes<'_>,
    ) -> Result<Fetched> {
        let installing = self.root.join("installing");
        let _lock = Lock::exclusive(&installing)?;
        files::remove_temporary(&installing)?;

        let file = fetch.location.download(&self.root.join("downloads"), on_bytes)?;
        let fetched = self.install_file(fetch, file.path(), &installing, storage, progress);
        match &fetched {
            // What is damaged would be so the next time.
            Ok(_) | Err(RegistryError::Bundle(faasm_bundle::Error::Damaged { .. })) => file.remove()?,
            Err(_) => {}
        }
        fetched
    }

    /// Makes a runtime that is there the store's, or leaves the store without one.
    pub(crate) fn choose(&self, runtime: Option<&str>) -> Result<()> {
        let _lock = Lock::exclusive(&self.root)?;
        if let Some(runtime) = runtime {
            return self.choose_runtime(runtime.to_owned()).map(drop);
        }
        let path = self.root.join(RUNTIME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", &path)(error)),
            _ => files::sync_directory(&self.root),
        }
    }

    /// All functions, as they are put into a bundle.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn functions_for_bundle(&self) -> Result<Vec<Function>> {
        let function = |stored: super::StoredFunction| {
            let source = self.source(&stored.user, &stored.name)?;
            let extension = package::archive_kind(&source).unwrap_or(super::MODULE).to_owned();
            Ok(Function { user: stored.user, name: stored.name, source, extension })
        };
        self.functions()?.into_iter().map(function).collect()
    }

    fn install_file(
        &self,
        fetch: &Fetch,
        path: &Path,
        installing: &Path,
        storage: &dyn Storage,
        progress: &dyn Fn(&str),
    ) -> Result<Fetched> {
        let Fetch { location, key, trust_local } = fetch;
        let mut bundle = Bundle::open(path)?;
        if let Some(key) = key {
            bundle.verify(&location.signature()?, key)?;
        }
        check_name(location, &bundle.manifest(&Limits::default())?)?;
        let code = match key.is_some() || (*trust_local && location.is_local()) {
            true => MachineCode::Trust,
            false => MachineCode::Compile,
        };
        self.install(&mut bundle, installing, code, storage, progress, &|_| Ok(()))
    }

    /// `check` has the last word on the image.
    pub(super) fn install(
        &self,
        bundle: &mut Bundle,
        installing: &Path,
        code: MachineCode,
        storage: &dyn Storage,
        progress: &dyn Fn(&str),
        check: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<Fetched> {
        let manifest = bundle.manifest(&Limits::default())?;
        let known = self.find_installed(&manifest)?;
        let was_there = known.is_some();
        let mut compiled = false;
        let runtime = match known {
            Some(known) => {
                check(&known.image)?;
                known
            }
            None => {
                let new = files::temporary_directory(installing)?;
                compiled =
                    faasm_bundle::install(bundle, new.path(), code, &Limits::default(), progress)?.compiled;
                check(new.path())?;
                let name = name(new.path())?;
                self.add_runtime(new, name, installing)?
            }
        };
        let (mut added, mut kept) = (Vec::new(), Vec::new());
        for part in &manifest.functions {
            check_function_name(&part.user, &part.name)?;
            let path = runtime.image.join(DIRECTORY).join(&part.path);
            let source = fs::read(&path).map_err(io("read", &path))?;
            let id = (part.user.clone(), part.name.clone());
            match storage.function(&part.user, &part.name) {
                Ok(stored) if stored.sha256 == hash(&source) => {}
                Ok(_) => kept.push(id),
                Err(RegistryError::NoFunction { .. }) => {
                    storage.store(&part.user, &part.name, &source)?;
                    added.push(id);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Fetched { runtime, manifest, was_there, compiled, added, kept })
    }

    /// Adds what is in a directory below `installing` to the runtimes of the store.
    pub(super) fn add_runtime(&self, new: TempDir, name: String, installing: &Path) -> Result<StoredRuntime> {
        let runtimes = self.root.join("runtimes");
        let directory = runtimes.join(&name);
        let _lock = Lock::exclusive(&self.root)?;
        fs::create_dir_all(&runtimes).map_err(io("create the directory", &runtimes))?;
        // One that is there cannot be run, or it would have been found.
        let old = files::temporary_directory(installing)?;
        match fs::rename(&directory, old.path().join("old")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io("replace", &directory)(error));
            }
            _ => fs::rename(new.keep(), &directory).map_err(io("create", &directory))?,
        }
        files::sync_directory(&runtimes)?;
        self.known_runtime(name)
    }

    /// The runtime that was made from this bundle, if it is there and can be run.
    fn find_installed(&self, manifest: &Manifest) -> Result<Option<StoredRuntime>> {
        let Some(_lock) = Lock::shared(&self.root)? else { return Ok(None) };
        let runtimes = &self.root.join("runtimes");
        for name in files::names(runtimes)? {
            let directory = runtimes.join(&name);
            let from: Option<Manifest> =
                files::read_json(&directory.join(DIRECTORY).join("manifest.json")).unwrap_or_default();
            let runs = || Image::open(&directory).and_then(|image| image.load_code()).is_ok();
            if from.as_ref() == Some(manifest) && runs() {
                return self.known_runtime(name).map(Some);
            }
        }
        Ok(None)
    }
}

/// The name of a runtime that came in a bundle: the hash of the image's manifest and the bundle's. Of two bundles with the same image
/// each has a name of its own, since they may have other functions.
fn name(runtime: &Path) -> Result<String> {
    let read = |path: PathBuf| fs::read(&path).map_err(io("read", &path));
    let mut text = read(runtime.join("manifest.json"))?;
    text.extend(read(runtime.join(DIRECTORY).join("manifest.json"))?);
    Ok(hash(&text))
}

/// A bundle with the name of another version would be an old one in the place of a new one.
fn check_name(location: &Location, manifest: &Manifest) -> Result<()> {
    let Some(name) = location.file_name() else { return Ok(()) };
    let expected = manifest.file_name();
    if !name.starts_with("py_func-") || name == expected {
        return Ok(());
    }
    let path = location.to_string().into();
    Err(faasm_bundle::Error::Damaged { path, reason: format!("it is {expected} by another name") }.into())
}
