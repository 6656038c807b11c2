//! The embedded store: functions and the runtime they run on, kept in a directory.
//!
//! ```text
//! functions/<user>/<function>/meta.json            what is stored, and which files are the sources of its versions
//! functions/<user>/<function>/function-<hash>.py   a source; `.zip`, `.tar` or `.tar.gz` if it is a package
//! runtimes/<hash>/                                 an image, locked (shared) by whoever uses it
//! runtime.json                                     which of them is used
//! upgraded.json                                    what a server was told to run while it was running, and what it ran before
//! images/                                          what functions have imported, made again if it is lost
//! state/                                           the functions' state
//! files/                                           the functions' shared files
//! downloads/                                       bundles that are being downloaded
//! installing/                                      a runtime that is being made from one; `lock` is held meanwhile
//! lock                                             held by whoever reads (shared) or writes (exclusively)
//! ```
//!
//! `meta.json` and `runtime.json` are what makes an upload count. They name files that are there and complete by then, and are
//! replaced in one step. A process that is killed at any moment therefore leaves the old state or the new one; what it
//! leaves besides has a name that starts with a dot or is named by nothing, and the next upload removes it. When another runtime is chosen,
//! those are removed that no process uses, except the one before.

#[cfg(feature = "bundles")]
mod bucket;
#[cfg(feature = "bundles")]
mod bundles;
mod error;
mod files;
mod in_use;
#[cfg(feature = "bundles")]
mod layered;
#[cfg(feature = "server")]
mod runtimes;
mod storage;
#[cfg(feature = "server")]
mod upgraded;

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use faasm_image::Image;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::function::{Function, is_valid_name};
use crate::package;
use crate::runtime::Runtime;
#[cfg(feature = "bundles")]
pub use bucket::Bucket;
#[cfg(feature = "bundles")]
pub use bundles::{Fetch, Fetched};
pub use error::RegistryError;
use files::{Lock, io};
pub(crate) use in_use::InUse;
#[cfg(feature = "bundles")]
pub use layered::Layered;
pub use storage::{ChosenBundle, Storage};
#[cfg(feature = "server")]
pub(crate) use upgraded::{Choice, Upgraded};

/// The name under which a runtime is uploaded, which no function can have.
pub const RUNTIME_NAME: &str = "py_func";

/// What the name of a function's file ends with that is no package.
const MODULE: &str = "py";

/// How many versions of a function are kept.
const VERSIONS: NonZero<usize> = NonZero::new(10).unwrap();

/// How many digits of its hash name a version.
const VERSION_DIGITS: usize = 16;

const META: &str = "meta.json";
const UPGRADED: &str = "upgraded.json";
const RUNTIME: &str = "runtime.json";

pub(crate) type Result<T, E = RegistryError> = std::result::Result<T, E>;

/// A store of functions in a directory. Any number of processes may use one at the same time.
#[derive(Clone, Debug)]
pub struct Registry {
    root: PathBuf,
    versions: NonZero<usize>,
}

/// What is known of a function in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFunction {
    /// Whose function it is.
    pub user: String,
    /// Its name.
    pub name: String,
    /// Whether it is a package, and not a single module.
    pub is_package: bool,
    /// The size of its source or archive, in bytes.
    pub bytes: u64,
    /// The SHA-256 of its source or archive, in lower-case hexadecimal.
    pub sha256: String,
    /// When it was uploaded.
    pub uploaded: SystemTime,
}

impl StoredFunction {
    /// The name of the version: the first 16 digits of its SHA-256.
    pub fn version(&self) -> &str {
        self.sha256.get(..VERSION_DIGITS).unwrap_or(&self.sha256)
    }
}

/// What is known of the runtime in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRuntime {
    /// The directory of its image.
    pub image: PathBuf,
    /// The version of Python in it.
    pub python: String,
    /// The SHA-256 of its manifest, followed by that of its bundle if it came in one, in lower-case hexadecimal.
    pub sha256: String,
    /// When it was uploaded.
    pub uploaded: SystemTime,
    /// Keeps it from being removed.
    pub(crate) in_use: Option<Arc<InUse>>,
}

/// `meta.json`. Times are seconds since 1970.
#[derive(Clone, Serialize, Deserialize)]
struct Meta {
    /// The version that is called.
    #[serde(flatten)]
    current: Version,
    /// Those that were called before, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Version>,
}

/// A version of a function in `meta.json`.
#[derive(Clone, Serialize, Deserialize)]
struct Version {
    source: String,
    bytes: u64,
    sha256: String,
    uploaded: u64,
}

/// `runtime.json`.
#[derive(Serialize, Deserialize)]
struct RuntimeMeta {
    python: String,
    sha256: String,
    uploaded: u64,
}

impl Registry {
    /// The store in the directory `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), versions: VERSIONS }
    }

    /// How many versions of each function are kept, the one that is called included. By default 10.
    pub fn keep_versions(mut self, count: NonZero<usize>) -> Self {
        self.versions = count;
        self
    }

    /// The store in `FAASM_HOME`, else in `faasm` below the platform's directory for data.
    ///
    /// # Errors
    ///
    /// When `FAASM_HOME` is not set and there is no home directory.
    pub fn from_env() -> Result<Self> {
        use etcetera::BaseStrategy as _;

        if let Some(root) = env::var_os("FAASM_HOME").filter(|it| !it.is_empty()) {
            return Ok(Self::new(root));
        }
        let platform = etcetera::choose_base_strategy()
            .map_err(|error| RegistryError::NoDataDirectory { reason: error.to_string() })?;
        Ok(Self::new(platform.data_dir().join("faasm")))
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Stores a function, its source or an archive of a package. It is loaded on `runtime` first, so that what is stored can be loaded.
    /// One of that name becomes an earlier version of it; of these the oldest are removed.
    ///
    /// # Errors
    ///
    /// When a name cannot be used, the function cannot be loaded, or the store cannot be written.
    pub fn upload(&self, runtime: &Runtime, user: &str, name: &str, source: &[u8]) -> Result<StoredFunction> {
        check_function_name(user, name)?;
        runtime.function(user, name).source(source).load()?;
        self.store(user, name, source)
    }

    /// Stores a function that was loaded before.
    pub(crate) fn store(&self, user: &str, name: &str, source: &[u8]) -> Result<StoredFunction> {
        let sha256 = hash(source);
        let kind = package::archive_kind(source).unwrap_or(MODULE);
        let file = format!("function-{}.{kind}", &sha256[..VERSION_DIGITS]);
        let current = Version { source: file, bytes: source.len() as u64, sha256, uploaded: now() };

        let _lock = Lock::exclusive(&self.root)?;
        let directory = self.function_directory(user, name);
        fs::create_dir_all(&directory).map_err(io("create the directory", &directory))?;
        let before: Option<Meta> = match files::read_json(&directory.join(META)) {
            // What cannot be read is what this is to take the place of.
            Err(RegistryError::Damaged { .. }) => None,
            other => other?,
        };
        let meta = Meta::after(before, current, self.versions);
        files::write(&directory.join(&meta.current.source), source)?;
        files::write_json(&directory.join(META), &meta)?;
        meta.remove_others(&directory)?;
        Ok(meta.current.into_function(user, name))
    }

    /// Has an earlier version of a function be called again, as if it was uploaded now. It is named by 16 or more digits of its SHA-256.
    ///
    /// # Errors
    ///
    /// When there is no such function or version, or the store cannot be written.
    pub fn restore(&self, user: &str, name: &str, version: &str) -> Result<StoredFunction> {
        check_function_name(user, name)?;
        let missing = || RegistryError::NoFunction { user: user.to_owned(), name: name.to_owned() };
        let _lock = Lock::exclusive(&self.root)?;
        let directory = self.function_directory(user, name);
        let before: Meta = files::read_json(&directory.join(META))?.ok_or_else(missing)?;
        let meta = before.restore(user, name, version, self.versions)?;
        files::write_json(&directory.join(META), &meta)?;
        meta.remove_others(&directory)?;
        Ok(meta.current.into_function(user, name))
    }

    /// Loads a function from the store on `runtime`.
    ///
    /// # Errors
    ///
    /// When there is no such function, the store cannot be read, or the function cannot be loaded.
    pub fn load(&self, runtime: &Runtime, user: &str, name: &str) -> Result<Function> {
        let source = self.source(user, name)?;
        Ok(runtime.function(user, name).source(source).load()?)
    }

    /// The source of a function, or its archive.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the store cannot be read.
    pub fn source(&self, user: &str, name: &str) -> Result<Vec<u8>> {
        Ok(self.read_source(user, name, None)?.1)
    }

    /// The same of one of its versions, named by 16 or more digits of its SHA-256.
    ///
    /// # Errors
    ///
    /// When there is no such function or version, or the store cannot be read.
    pub fn source_of_version(&self, user: &str, name: &str, version: &str) -> Result<Vec<u8>> {
        Ok(self.read_source(user, name, Some(version))?.1)
    }

    fn read_source(
        &self,
        user: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<(StoredFunction, Vec<u8>)> {
        // A writer removes sources, which must not happen between reading a source's name and reading it.
        let (meta, _lock) = self.read_meta(user, name)?;
        let found = match version {
            None => meta.current,
            Some(version) => meta.version(user, name, version)?,
        };
        let path = self.function_directory(user, name).join(&found.source);
        let source = fs::read(&path).map_err(io("read", &path))?;
        if hash(&source) != found.sha256 {
            return Err(RegistryError::Damaged {
                path,
                reason: "it was changed after it was stored".to_owned(),
            });
        }
        Ok((found.into_function(user, name), source))
    }

    /// What is known of a function.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the store cannot be read.
    pub fn function(&self, user: &str, name: &str) -> Result<StoredFunction> {
        Ok(self.read_meta(user, name)?.0.current.into_function(user, name))
    }

    /// What is known of the versions of a function: the one that is called, and those before it, the last one first.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the store cannot be read.
    pub fn versions(&self, user: &str, name: &str) -> Result<Vec<StoredFunction>> {
        let versions = self.read_meta(user, name)?.0.into_versions();
        Ok(versions.map(|it| it.into_function(user, name)).collect())
    }

    /// What is stored of a function, which stays so as long as the lock is held.
    fn read_meta(&self, user: &str, name: &str) -> Result<(Meta, Lock)> {
        check_function_name(user, name)?;
        let missing = || RegistryError::NoFunction { user: user.to_owned(), name: name.to_owned() };
        let lock = Lock::shared(&self.root)?.ok_or_else(missing)?;
        let meta = files::read_json(&self.function_directory(user, name).join(META))?;
        Ok((meta.ok_or_else(missing)?, lock))
    }

    /// Removes a function from the store.
    ///
    /// # Errors
    ///
    /// When there is no such function, or the store cannot be written.
    pub fn remove(&self, user: &str, name: &str) -> Result<()> {
        check_function_name(user, name)?;
        let _lock = Lock::exclusive(&self.root)?;
        let directory = self.function_directory(user, name);
        let meta = directory.join(META);
        match fs::remove_file(&meta) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(RegistryError::NoFunction { user: user.to_owned(), name: name.to_owned() });
            }
            other => other.map_err(io("remove", &meta))?,
        }
        // Without its description the function is gone, also after a crash.
        files::sync_directory(&directory)?;
        fs::remove_dir_all(&directory).map_err(io("remove", &directory))
    }

    /// All functions, by user and name.
    ///
    /// # Errors
    ///
    /// When the store cannot be read. A store that does not exist is empty.
    pub fn functions(&self) -> Result<Vec<StoredFunction>> {
        let Some(_lock) = Lock::shared(&self.root)? else { return Ok(Vec::new()) };
        let mut functions = Vec::new();
        let root = self.root.join("functions");
        for user in files::names(&root)? {
            for name in files::names(&root.join(&user))? {
                let meta: Option<Meta> = files::read_json(&root.join(&user).join(&name).join(META))?;
                functions.extend(meta.map(|meta| meta.current.into_function(&user, &name)));
            }
        }
        Ok(functions)
    }

    /// Makes a copy of an image the store's runtime. Files are linked where the file system can do that. The content of every file
    /// is checked against the manifest.
    ///
    /// # Errors
    ///
    /// When the image is damaged or not for this machine, or the store cannot be written.
    pub fn upload_runtime(&self, image: &Path) -> Result<StoredRuntime> {
        let manifest = image.join("manifest.json");
        // `open` says more about what is wrong with an image than a file that cannot be read.
        Image::open(image).map_err(crate::Error::from)?;
        let sha256 = hash(&fs::read(&manifest).map_err(io("read", &manifest))?);

        let _lock = Lock::exclusive(&self.root)?;
        let runtimes = self.root.join("runtimes");
        fs::create_dir_all(&runtimes).map_err(io("create the directory", &runtimes))?;
        files::remove_temporary(&runtimes)?;
        let directory = runtimes.join(&sha256);
        if !directory.is_dir() {
            let new = files::temporary_directory(&runtimes)?;
            files::link_tree(image, new.path())?;
            Image::open(new.path()).and_then(|image| image.verify()).map_err(crate::Error::from)?;
            let new = new.keep();
            fs::rename(&new, &directory).map_err(io("create", &directory))?;
        }
        self.choose_runtime(sha256)
    }

    /// Makes one of the runtimes that are there the store's. The lock must be held.
    fn choose_runtime(&self, sha256: String) -> Result<StoredRuntime> {
        let path = self.root.join(RUNTIME);
        // One that cannot be read is replaced all the same.
        let before: Option<RuntimeMeta> = files::read_json(&path).unwrap_or_default();
        let meta = self.describe_runtime(sha256)?;
        files::write_json(&path, &meta)?;
        // Somebody may want to go back to the one before.
        let before = before.filter(|before| before.sha256 != meta.sha256);
        if let Some(before) = before
            && let Err(error) = self.remove_unused_runtimes(&[&meta.sha256, &before.sha256])
        {
            tracing::warn!("failed to {error}; nothing needs it");
        }
        Ok(self.stored_runtime(meta))
    }

    /// One of the runtimes that are there, as it is if it is chosen now. The lock must be held.
    #[cfg(feature = "bundles")]
    fn known_runtime(&self, sha256: String) -> Result<StoredRuntime> {
        Ok(self.stored_runtime(self.describe_runtime(sha256)?))
    }

    fn describe_runtime(&self, sha256: String) -> Result<RuntimeMeta> {
        let image = Image::open(&self.root.join("runtimes").join(&sha256)).map_err(crate::Error::from)?;
        Ok(RuntimeMeta { python: image.manifest().python.clone(), sha256, uploaded: now() })
    }

    /// The runtime of the store, if one was uploaded.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub fn runtime(&self) -> Result<Option<StoredRuntime>> {
        let Some(_lock) = Lock::shared(&self.root)? else { return Ok(None) };
        let meta: Option<RuntimeMeta> = files::read_json(&self.root.join(RUNTIME))?;
        Ok(meta.map(|meta| self.stored_runtime(meta)))
    }

    fn function_directory(&self, user: &str, name: &str) -> PathBuf {
        self.root.join("functions").join(user).join(name)
    }

    fn stored_runtime(&self, meta: RuntimeMeta) -> StoredRuntime {
        let RuntimeMeta { python, sha256, uploaded } = meta;
        let image = self.root.join("runtimes").join(&sha256);
        let in_use = InUse::new(&image).map(Arc::new);
        StoredRuntime { image, python, sha256, uploaded: time(uploaded), in_use }
    }
}

impl Meta {
    /// The current one is the first.
    fn into_versions(self) -> impl Iterator<Item = Version> {
        std::iter::once(self.current).chain(self.earlier)
    }

    /// One of the versions, by its name.
    fn version(self, user: &str, name: &str, version: &str) -> Result<Version> {
        self.into_versions().find(|it| it.is(version)).ok_or_else(|| no_version(user, name, version))
    }

    /// The description after an upload, when so many versions are kept.
    fn after(before: Option<Self>, current: Version, keep: NonZero<usize>) -> Self {
        let mut earlier: Vec<Version> = before.into_iter().flat_map(Meta::into_versions).collect();
        earlier.retain(|it| it.sha256 != current.sha256);
        earlier.truncate(keep.get() - 1);
        Self { current, earlier }
    }

    /// The description after an earlier version was gone back to.
    fn restore(self, user: &str, name: &str, version: &str, keep: NonZero<usize>) -> Result<Self> {
        let found = self.clone().version(user, name, version)?;
        Ok(Self::after(Some(self), Version { uploaded: now(), ..found }, keep))
    }

    /// Removes what a function's directory has besides what this names.
    fn remove_others(&self, directory: &Path) -> Result<()> {
        let sources = self.earlier.iter().chain([&self.current]).map(|it| it.source.as_str());
        files::remove_others(directory, &sources.chain([META]).collect::<Vec<_>>())
    }
}

impl Version {
    fn is(&self, name: &str) -> bool {
        name.len() >= VERSION_DIGITS && self.sha256.starts_with(name)
    }

    fn into_function(self, user: &str, name: &str) -> StoredFunction {
        let Self { source, bytes, sha256, uploaded } = self;
        StoredFunction {
            user: user.to_owned(),
            name: name.to_owned(),
            is_package: Path::new(&source).extension() != Some(MODULE.as_ref()),
            bytes,
            sha256,
            uploaded: time(uploaded),
        }
    }
}

pub(crate) fn check_function_name(user: &str, name: &str) -> Result<()> {
    if let Some(invalid) = [user, name].into_iter().find(|name| !is_valid_name(name)) {
        return Err(crate::Error::Name { name: invalid.to_owned() }.into());
    }
    if name == RUNTIME_NAME { Err(RegistryError::Reserved) } else { Ok(()) }
}

fn no_version(user: &str, name: &str, version: &str) -> RegistryError {
    let [user, name, version] = [user, name, version].map(str::to_owned);
    RegistryError::NoVersion { user, name, version }
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests;
