//! Functions that a server has from the start, such as those in a container image, below a storage that has those which were uploaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::files::{self, io};
use super::storage::{ChosenBundle, Storage};
use super::{
    MODULE, RegistryError, Result, StoredFunction, VERSION_DIGITS, check_function_name, hash, no_version,
};
use crate::package;

/// For how long a storage that others change is believed that it has no function of a name.
const BELIEVED: Duration = Duration::from_secs(1);

/// A storage, and below it the functions in a directory, which are only read:
///
/// ```text
/// <user>/<function>.py                        a module
/// <user>/<function>.zip, .tar or .tar.gz      an archive of a package
/// ```
///
/// A function of the same name in the storage is the one that is called, and the one in the directory the earliest version of it. What is
/// stored goes to the storage.
pub struct Layered {
    upper: Arc<dyn Storage>,
    /// By user and name.
    lower: BTreeMap<String, BTreeMap<String, Lower>>,
}

struct Lower {
    stored: StoredFunction,
    path: PathBuf,
    /// When the storage above had no function of this name.
    alone: Mutex<Option<Instant>>,
}

impl Layered {
    /// Lays a storage over the functions in a directory. What has a name that begins with a dot is none.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read, or has something else.
    pub fn open(directory: &Path, upper: Arc<dyn Storage>) -> Result<Self> {
        // Its absence would go unnoticed otherwise.
        fs::read_dir(directory).map_err(io("read the directory", directory))?;
        let mut lower = BTreeMap::new();
        for user in files::names(directory)? {
            let directory = directory.join(&user);
            fs::read_dir(&directory).map_err(io("read the directory", &directory))?;
            let functions: &mut BTreeMap<_, _> = lower.entry(user.clone()).or_default();
            for file in files::names(&directory)? {
                let function = read(&user, directory.join(file))?;
                let path = function.path.clone();
                if functions.insert(function.stored.name.clone(), function).is_some() {
                    return Err(refuse(path, "another file has a function of this name".to_owned()));
                }
            }
        }
        Ok(Self { upper, lower })
    }

    fn lower(&self, user: &str, name: &str) -> Option<&Lower> {
        self.lower.get(user)?.get(name)
    }

    /// The storage above has a function of this name.
    fn not_alone(&self, user: &str, name: &str) {
        if let Some(below) = self.lower(user, name) {
            *below.alone.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// What the storage above says of a function, or else `lower` of the one below.
    fn either<T>(
        &self,
        user: &str,
        name: &str,
        upper: impl FnOnce() -> Result<T>,
        lower: impl FnOnce(&Lower) -> Result<T>,
    ) -> Result<T> {
        let Some(below) = self.lower(user, name) else { return upper() };
        if self.upper.is_shared() && below.is_alone() {
            return lower(below);
        }
        let answer = upper();
        let mut alone = below.alone.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(found) => {
                *alone = None;
                Ok(found)
            }
            Err(RegistryError::NoFunction { .. }) => {
                *alone = Some(Instant::now());
                drop(alone);
                lower(below)
            }
            // It does not answer. What was so goes on to be believed.
            Err(_) if alone.is_some() => {
                *alone = Some(Instant::now());
                drop(alone);
                lower(below)
            }
            Err(error) => Err(error),
        }
    }
}

impl Lower {
    fn is_alone(&self) -> bool {
        let alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone.is_some_and(|at| at.elapsed() < BELIEVED)
    }

    /// Whether it is the version of this name.
    fn is(&self, version: &str) -> bool {
        version.len() >= VERSION_DIGITS && self.stored.sha256.starts_with(version)
    }

    fn source(&self) -> Result<Vec<u8>> {
        let source = fs::read(&self.path).map_err(io("read", &self.path))?;
        if hash(&source) != self.stored.sha256 {
            let reason = "it was changed after the server had started".to_owned();
            return Err(RegistryError::Damaged { path: self.path.clone(), reason });
        }
        Ok(source)
    }
}

impl Storage for Layered {
    fn store(&self, user: &str, name: &str, source: &[u8]) -> Result<StoredFunction> {
        let stored = self.upper.store(user, name, source)?;
        self.not_alone(user, name);
        Ok(stored)
    }

    fn function(&self, user: &str, name: &str) -> Result<StoredFunction> {
        self.either(user, name, || self.upper.function(user, name), |below| Ok(below.stored.clone()))
    }

    fn source(&self, user: &str, name: &str) -> Result<(StoredFunction, Vec<u8>)> {
        let lower = |below: &Lower| Ok((below.stored.clone(), below.source()?));
        self.either(user, name, || self.upper.source(user, name), lower)
    }

    fn versions(&self, user: &str, name: &str) -> Result<Vec<StoredFunction>> {
        let upper = || {
            let mut versions = self.upper.versions(user, name)?;
            let below = self.lower(user, name).map(|it| it.stored.clone());
            versions.extend(below.filter(|it| versions.iter().all(|known| known.sha256 != it.sha256)));
            Ok(versions)
        };
        self.either(user, name, upper, |below| Ok(vec![below.stored.clone()]))
    }

    fn source_of_version(&self, user: &str, name: &str, version: &str) -> Result<Vec<u8>> {
        if let Some(below) = self.lower(user, name).filter(|it| it.is(version)) {
            return below.source();
        }
        self.upper.source_of_version(user, name, version)
    }

    fn restore(&self, user: &str, name: &str, version: &str) -> Result<StoredFunction> {
        let below = self.lower(user, name).filter(|it| it.is(version));
        match (self.upper.restore(user, name, version), below) {
            (Err(RegistryError::NoVersion { .. }), Some(below)) => self.store(user, name, &below.source()?),
            // It is the one that is called.
            (Err(RegistryError::NoFunction { .. }), Some(below)) => Ok(below.stored.clone()),
            (Err(RegistryError::NoFunction { .. }), None) if self.lower(user, name).is_some() => {
                Err(no_version(user, name, version))
            }
            (other, _) => other.inspect(|_| self.not_alone(user, name)),
        }
    }

    fn remove(&self, user: &str, name: &str) -> Result<()> {
        match self.upper.remove(user, name) {
            Err(RegistryError::NoFunction { user, name }) if self.lower(&user, &name).is_some() => {
                Err(RegistryError::Included { user, name })
            }
            other => other,
        }
    }

    fn functions(&self) -> Result<Vec<StoredFunction>> {
        let mut functions: BTreeMap<_, _> =
            self.lower.values().flat_map(BTreeMap::values).map(|it| by_name(it.stored.clone())).collect();
        functions.extend(self.upper.functions()?.into_iter().map(by_name));
        Ok(functions.into_values().collect())
    }

    fn is_shared(&self) -> bool {
        self.upper.is_shared()
    }

    fn is_current(&self, stored: &StoredFunction) -> bool {
        match self.lower(&stored.user, &stored.name).filter(|it| it.stored == *stored) {
            Some(below) if self.upper.is_shared() => below.is_alone(),
            _ => self.upper.is_current(stored),
        }
    }

    fn flush(&self) -> Result<()> {
        self.upper.flush()
    }

    fn flushes(&self) -> u64 {
        self.upper.flushes()
    }

    fn bundle(&self) -> Result<Option<ChosenBundle>> {
        self.upper.bundle()
    }

    fn choose_bundle(&self, chosen: Option<&ChosenBundle>) -> Result<()> {
        self.upper.choose_bundle(chosen)
    }
}

fn by_name(stored: StoredFunction) -> ((String, String), StoredFunction) {
    ((stored.user.clone(), stored.name.clone()), stored)
}

/// What is known of the function in a file.
fn read(user: &str, path: PathBuf) -> Result<Lower> {
    let source = fs::read(&path).map_err(io("read", &path))?;
    let metadata = fs::metadata(&path).map_err(io("read", &path))?;
    let kind = package::archive_kind(&source).unwrap_or(MODULE);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(name) = file.strip_suffix(kind).and_then(|it| it.strip_suffix('.')) else {
        return Err(refuse(path.clone(), format!("it has the content of a .{kind}, and another name")));
    };
    check_function_name(user, name).map_err(|error| refuse(path.clone(), format!("failed to {error}")))?;
    let stored = StoredFunction {
        user: user.to_owned(),
        name: name.to_owned(),
        is_package: kind != MODULE,
        bytes: source.len() as u64,
        sha256: hash(&source),
        uploaded: metadata.modified().unwrap_or(UNIX_EPOCH),
    };
    Ok(Lower { stored, path, alone: Mutex::default() })
}

fn refuse(path: PathBuf, reason: String) -> RegistryError {
    RegistryError::NotIncluded { path, reason }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    fn write(directory: &Path, path: &str, content: &[u8]) {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn what_is_uploaded_goes_before_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let included = directory.path().join("included");
        for (path, content) in [("a/f.py", &b"1"[..]), ("b/g.zip", b"PK\x03\x04"), ("b/.x", b"")] {
            write(&included, path, content);
        }
        let upper = Registry::new(directory.path().join("store"));
        upper.store("b", "h", b"22").unwrap();
        let storage = Layered::open(&included, Arc::new(upper.clone())).unwrap();
        let listed = || {
            let functions = storage.functions().unwrap();
            functions.iter().map(|it| format!("{}/{} {}", it.user, it.name, it.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(listed(), ["a/f 1", "b/g 4", "b/h 2"]);
        assert!(storage.function("b", "g").unwrap().is_package);
        let first = storage.function("a", "f").unwrap();
        assert_eq!(storage.source("a", "f").unwrap(), (first.clone(), b"1".to_vec()));
        assert!(matches!(storage.function("a", "x"), Err(RegistryError::NoFunction { .. })));
        assert!(matches!(storage.remove("a", "f"), Err(RegistryError::Included { .. })));

        let second = storage.store("a", "f", b"333").unwrap();
        assert_eq!(listed(), ["a/f 3", "b/g 4", "b/h 2"]);
        assert_eq!(storage.source("a", "f").unwrap(), (second.clone(), b"333".to_vec()));
        assert_eq!(storage.versions("a", "f").unwrap(), [second.clone(), first.clone()]);
        for (stored, source) in [(&first, "1"), (&second, "333")] {
            assert_eq!(
                storage.source_of_version("a", "f", stored.version()).unwrap(),
                source.as_bytes(),
                "{stored:?}"
            );
        }
        let missing = storage.source_of_version("a", "f", &hash(b"4"));
        assert!(matches!(missing, Err(RegistryError::NoVersion { .. })));
        // Going back to the first one puts it above what is there, and it goes with that.
        let again = storage.restore("a", "f", first.version()).unwrap();
        assert_eq!(storage.source("a", "f").unwrap(), (again.clone(), b"1".to_vec()));
        assert_eq!(storage.versions("a", "f").unwrap(), [again, second.clone()]);
        storage.remove("a", "f").unwrap();
        assert_eq!(storage.versions("a", "f").unwrap(), std::slice::from_ref(&first));
        assert_eq!(storage.restore("a", "f", first.version()).unwrap(), first);
        let gone = storage.restore("a", "f", second.version());
        assert!(matches!(gone, Err(RegistryError::NoVersion { .. })), "{gone:?}");
        assert!(matches!(storage.restore("a", "x", "0"), Err(RegistryError::NoFunction { .. })));

        write(&included, "a/f.py", b"2");
        assert!(matches!(storage.source("a", "f"), Err(RegistryError::Damaged { .. })));
    }

    #[test]
    fn what_is_no_function_is_refused() {
        for (paths, expected) in [
            (&["f.py"][..], "read the directory"),
            (&["a/f.txt"], "f.txt: it has the content of a .py, and another name"),
            (&["a/f.zip"], "another name"),
            (&["a/py_func.py"], "it stands for the runtime"),
            (&["a/f g.py"], "f g"),
            (&["a/d/f.py"], "read "),
        ] {
            let directory = tempfile::tempdir().unwrap();
            paths.iter().for_each(|path| write(directory.path(), path, b"x"));
            let upper = Arc::new(Registry::new(directory.path().join(".store")));
            let error = Layered::open(directory.path(), upper).err().unwrap();
            assert!(error.to_string().contains(expected), "{paths:?}: {error}");
        }
        let upper = Arc::new(Registry::new("none"));
        assert!(matches!(Layered::open("not/there".as_ref(), upper), Err(RegistryError::Io { .. })));
    }

    /// A storage that others change, which has nothing, or does not answer.
    #[derive(Default)]
    struct Shared {
        asked: Mutex<u32>,
        is_away: Mutex<bool>,
    }

    impl Storage for Shared {
        fn store(&self, _: &str, _: &str, _: &[u8]) -> Result<StoredFunction> {
            unimplemented!("nothing is stored")
        }
        fn function(&self, user: &str, name: &str) -> Result<StoredFunction> {
            *self.asked.lock().unwrap() += 1;
            if *self.is_away.lock().unwrap() {
                return Err(RegistryError::NoDataDirectory { reason: "it is away".to_owned() });
            }
            Err(RegistryError::NoFunction { user: user.to_owned(), name: name.to_owned() })
        }
        fn source(&self, user: &str, name: &str) -> Result<(StoredFunction, Vec<u8>)> {
            self.function(user, name).map(|it| (it, Vec::new()))
        }
        fn versions(&self, user: &str, name: &str) -> Result<Vec<StoredFunction>> {
            self.function(user, name).map(|it| vec![it])
        }
        fn source_of_version(&self, user: &str, name: &str, _: &str) -> Result<Vec<u8>> {
            self.function(user, name).map(|_| Vec::new())
        }
        fn restore(&self, user: &str, name: &str, _: &str) -> Result<StoredFunction> {
            self.function(user, name)
        }
        fn remove(&self, user: &str, name: &str) -> Result<()> {
            self.function(user, name).map(drop)
        }
        fn functions(&self) -> Result<Vec<StoredFunction>> {
            Ok(Vec::new())
        }
        fn is_shared(&self) -> bool {
            true
        }
        fn is_current(&self, _: &StoredFunction) -> bool {
            false
        }
    }

    #[test]
    fn a_storage_that_is_shared_is_asked_once_in_a_while() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "a/f.py", b"1");
        let upper = Arc::new(Shared::default());
        let storage = Layered::open(directory.path(), Arc::clone(&upper) as Arc<dyn Storage>).unwrap();
        // Who has never answered is not known to have no function of that name.
        *upper.is_away.lock().unwrap() = true;
        storage.function("a", "f").unwrap_err();
        *upper.is_away.lock().unwrap() = false;
        let (before, started) = (*upper.asked.lock().unwrap(), Instant::now());
        let stored = storage.function("a", "f").unwrap();
        *upper.is_away.lock().unwrap() = true;
        for _ in 0..100 {
            let is_current = storage.is_current(&stored);
            let asked = *upper.asked.lock().unwrap();
            assert_eq!(storage.source("a", "f").unwrap().0, stored, "what was so is believed");
            assert!(is_current || *upper.asked.lock().unwrap() > asked);
        }
        let asked = u64::from(*upper.asked.lock().unwrap() - before);
        assert!(asked <= started.elapsed().as_secs() + 1, "{asked} times");
    }
}
