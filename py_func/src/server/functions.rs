//! The functions of a storage, loaded when they are first called and from then on ready.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::problem::Problem;
use crate::function::Function;
use crate::registry::{RegistryError, Storage, StoredFunction, check_function_name};
use crate::runtime::Runtime;

/// All functions of a storage that this process knows of. What it has stored itself it knows at once. What other processes store in a
/// directory it finds when it is asked for something it does not know, and when it looks through all of it again; a storage that servers
/// share is asked, before a call begins, whether it still has the version that is loaded, if that is not known.
pub(super) struct Functions {
    storage: Arc<dyn Storage>,
    runtime: RwLock<Runtime>,
    /// By user and name.
    table: RwLock<HashMap<String, HashMap<String, Arc<Entry>>>>,
    /// Earlier versions that were called, by user, name and version.
    earlier: Mutex<HashMap<[String; 3], Arc<Entry>>>,
    /// Held while the table is made to agree with the storage on which upload was the last.
    writing: Mutex<()>,
    /// What the storage has answered for how often others have flushed it.
    flushes: AtomicU64,
}

/// A version of a function. Calls that have begun keep theirs.
pub(super) struct Entry {
    pub(super) stored: StoredFunction,
    loaded: OnceCell<Function>,
    /// Held by the one call that asks whether this is still the version to call, while others wait for its answer.
    asking: tokio::sync::Mutex<()>,
}

/// Above so many earlier versions that were called, all of them are forgotten.
const EARLIER: usize = 64;

impl Functions {
    /// Finds what is in the storage. Nothing is loaded yet.
    pub(super) fn open(storage: Arc<dyn Storage>, runtime: Runtime) -> Result<Self, RegistryError> {
        let flushes = AtomicU64::new(storage.flushes());
        let runtime = RwLock::new(runtime);
        let functions = Self {
            storage,
            runtime,
            table: RwLock::default(),
            earlier: Mutex::default(),
            writing: Mutex::default(),
            flushes,
        };
        functions.look_again()?;
        Ok(functions)
    }

    /// Looks through the storage, unless it is asked for each function anyway. Versions that are still the ones there stay loaded,
    /// unless they are to be forgotten.
    pub(super) fn look_again(&self) -> Result<(), RegistryError> {
        if self.storage.is_shared() {
            return Ok(());
        }
        let _writing = locked(&self.writing);
        let mut table: HashMap<String, HashMap<String, Arc<Entry>>> = HashMap::new();
        for stored in self.storage.functions()? {
            let known = self.known(&stored.user, &stored.name).filter(|it| it.stored == stored);
            let user = table.entry(stored.user.clone()).or_default();
            user.insert(stored.name.clone(), known.unwrap_or_else(|| entry(stored, None)));
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }

    /// Forgets all that was loaded, here and in other servers on the same storage, and looks through it again.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), Problem> {
        let functions = Arc::clone(self);
        blocking(move || {
            functions.storage.flush()?;
            functions.forget();
            Ok(functions.look_again()?)
        })
        .await
    }

    fn forget(&self) {
        self.table.write().unwrap_or_else(PoisonError::into_inner).clear();
        locked(&self.earlier).clear();
    }

    /// A function, loaded; or a version of it, which is named by the beginning of its hash.
    pub(super) async fn get(
        self: &Arc<Self>,
        user: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<(Arc<Entry>, Function), Problem> {
        loop {
            let current = self.current(user, name).await?;
            let earlier = version.filter(|version| *version != current.stored.version());
            let entry = match earlier {
                None => current,
                Some(version) => self.earlier(user, name, version).await?,
            };
            if let Some(function) = entry.loaded.get() {
                let function = function.clone();
                return Ok((entry, function));
            }
            let load = || {
                let (functions, entry, is_earlier) =
                    (Arc::clone(self), Arc::clone(&entry), earlier.is_some());
                async move {
                    let panicked = |_| Err(Replaced::Failed(Problem::internal("the host panicked")));
                    spawn_blocking(move || functions.load(&entry, is_earlier)).await.unwrap_or_else(panicked)
                }
            };
            match entry.loaded.get_or_try_init(load).await {
                Ok(function) => {
                    let function = function.clone();
                    return Ok((entry, function));
                }
                // There is a newer version, which is loaded in its place.
                Err(Replaced::ByAnother) => {
                    self.find(user, name).await?;
                }
                Err(Replaced::Failed(problem)) => return Err(problem),
            }
        }
    }

    /// The version of a function that calls run which begin now.
    async fn current(self: &Arc<Self>, user: &str, name: &str) -> Result<Arc<Entry>, Problem> {
        let flushes = self.storage.flushes();
        if self.flushes.load(Ordering::Relaxed) != flushes
            && self.flushes.swap(flushes, Ordering::Relaxed) != flushes
        {
            self.forget();
        }
        let Some(entry) = self.known(user, name) else { return self.find(user, name).await };
        if self.storage.is_current(&entry.stored) {
            return Ok(entry);
        }
        let _asking = entry.asking.lock().await;
        if self.storage.is_current(&entry.stored) {
            Ok(Arc::clone(&entry))
        } else {
            self.find(user, name).await
        }
    }

    /// An earlier version of a function.
    async fn earlier(self: &Arc<Self>, user: &str, name: &str, version: &str) -> Result<Arc<Entry>, Problem> {
        // Every time, since whoever uploads others has this one kept no more.
        let kept = self.versions(user.to_owned(), name.to_owned()).await?;
        let key = [user, name, version].map(str::to_owned);
        let mut known = locked(&self.earlier);
        let Some(stored) = kept.into_iter().find(|it| it.version() == version) else {
            known.remove(&key);
            let [user, name, version] = key;
            return Err(RegistryError::NoVersion { user, name, version }.into());
        };
        if known.len() >= EARLIER {
            known.clear();
        }
        Ok(Arc::clone(known.entry(key).or_insert_with(|| entry(stored, None))))
    }

    fn forget_earlier(&self, which: impl Fn(&[String; 3]) -> bool) {
        locked(&self.earlier).retain(|key, _| !which(key));
    }

    /// What is known of the versions of a function, the one that is called first.
    pub(super) async fn versions(
        self: &Arc<Self>,
        user: String,
        name: String,
    ) -> Result<Vec<StoredFunction>, Problem> {
        let functions = Arc::clone(self);
        blocking(move || Ok(functions.storage.versions(&user, &name)?)).await
    }

    /// Has an earlier version be called again, as if it was uploaded; the one before the current one if none is named.
    pub(super) async fn roll_back(
        self: &Arc<Self>,
        user: String,
        name: String,
        version: Option<String>,
    ) -> Result<StoredFunction, Problem> {
        let functions = Arc::clone(self);
        blocking(move || {
            let version = match version {
                Some(version) => version,
                None => match functions.storage.versions(&user, &name)?.get(1) {
                    Some(before) => before.version().to_owned(),
                    None => {
                        let detail = format!("{user}/{name} has no version before this one");
                        return Err(Problem::no_version(detail));
                    }
                },
            };
            let source = functions.storage.source_of_version(&user, &name, &version)?;
            let loaded = functions.load_source(&functions.runtime(), &user, &name, &source)?;
            let stored = functions.storage.restore(&user, &name, &version)?;
            functions.take_over(&stored, loaded)?;
            Ok(stored)
        })
        .await
    }

    /// What is known of a function.
    pub(super) async fn stored(self: &Arc<Self>, user: &str, name: &str) -> Result<StoredFunction, Problem> {
        Ok(self.current(user, name).await?.stored.clone())
    }

    /// All functions, by user and name.
    pub(super) async fn list(self: &Arc<Self>) -> Result<Vec<StoredFunction>, Problem> {
        if self.storage.is_shared() {
            let functions = Arc::clone(self);
            return blocking(move || Ok(functions.storage.functions()?)).await;
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> =
            table.values().flat_map(HashMap::values).map(|entry| entry.stored.clone()).collect();
        drop(table);
        list.sort_by(|a, b| (&a.user, &a.name).cmp(&(&b.user, &b.name)));
        Ok(list)
    }

    /// Loads a function, and stores it if that succeeds. Calls that begin after this run it. Answers what was stored and whether it
    /// is new.
    pub(super) async fn upload(
        self: &Arc<Self>,
        user: String,
        name: String,
        source: Vec<u8>,
    ) -> Result<(StoredFunction, bool), Problem> {
        let functions = Arc::clone(self);
        blocking(move || Ok(functions.upload_now(&user, &name, &source)?)).await
    }

    /// Does the same on this thread.
    pub(super) fn upload_now(
        &self,
        user: &str,
        name: &str,
        source: &[u8],
    ) -> Result<(StoredFunction, bool), RegistryError> {
        check_function_name(user, name)?;
        let loaded = self.load_source(&self.runtime(), user, name, source)?;
        let is_new = self.known(user, name).is_none();
        let stored = self.storage.store(user, name, source)?;
        self.take_over(&stored, loaded)?;
        Ok((stored, is_new))
    }

    /// Has calls run what was just stored, unless there is something newer.
    fn take_over(&self, stored: &StoredFunction, loaded: Function) -> Result<(), RegistryError> {
        match self.adopt(&stored.user, &stored.name, Some((stored, loaded))) {
            // Somebody has removed it since.
            Err(RegistryError::NoFunction { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// What functions run on that are loaded from now on.
    pub(super) fn runtime(&self) -> Runtime {
        self.runtime.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads what is loaded on another runtime, beside what there is.
    pub(super) fn prepare(&self, runtime: Runtime) -> Result<Prepared, RegistryError> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = table.values().flat_map(HashMap::values).filter(|it| it.loaded.initialized());
        let loaded: Vec<Arc<Entry>> = loaded.cloned().collect();
        drop(table);
        let mut prepared = Prepared { runtime, loaded: HashMap::new(), failed: Vec::new() };
        for entry in loaded {
            let StoredFunction { user, name, .. } = &entry.stored;
            let (stored, source) = match self.storage.source(user, name) {
                Err(RegistryError::NoFunction { .. }) => continue,
                other => other?,
            };
            match self.load_source(&prepared.runtime, user, name, &source) {
                Ok(function) => {
                    prepared.loaded.insert((user.clone(), name.clone()), (stored, function));
                }
                Err(error) => prepared.failed.push((format!("{user}/{name}"), error)),
            }
        }
        Ok(prepared)
    }

    /// Has calls that begin after this run on another runtime.
    pub(super) fn switch(&self, mut prepared: Prepared) {
        let _writing = locked(&self.writing);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for known in table.values_mut().flat_map(HashMap::values_mut) {
            let id = (known.stored.user.clone(), known.stored.name.clone());
            let loaded = prepared.loaded.remove(&id).filter(|(stored, _)| *stored == known.stored);
            // Also what is not loaded, for somebody may be loading it on the old one.
            *known = entry(known.stored.clone(), loaded.map(|(_, function)| function));
        }
        // What is loaded from here on is loaded on the new one, so none that is on the old one comes back among the earlier versions.
        *self.runtime.write().unwrap_or_else(PoisonError::into_inner) = prepared.runtime;
        locked(&self.earlier).clear();
    }

    /// How many are known.
    pub(super) fn count(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).values().map(HashMap::len).sum()
    }

    /// The source of a function, or of a version of it.
    pub(super) async fn source(
        self: &Arc<Self>,
        user: String,
        name: String,
        version: Option<String>,
    ) -> Result<Vec<u8>, Problem> {
        let functions = Arc::clone(self);
        blocking(move || {
            Ok(match version {
                None => functions.storage.source(&user, &name)?.1,
                Some(version) => functions.storage.source_of_version(&user, &name, &version)?,
            })
        })
        .await
    }

    /// Removes a function from the storage. Calls that have begun go on.
    pub(super) async fn remove(self: &Arc<Self>, user: String, name: String) -> Result<(), Problem> {
        let functions = Arc::clone(self);
        blocking(move || {
            functions.storage.remove(&user, &name)?;
            functions.forget_earlier(|[of, named, _]| (of, named) == (&user, &name));
            match functions.adopt(&user, &name, None) {
                Err(RegistryError::NoFunction { .. }) => Ok(()),
                // Somebody has uploaded another one since.
                other => other.map(drop).map_err(Problem::from),
            }
        })
        .await
    }

    fn known(&self, user: &str, name: &str) -> Option<Arc<Entry>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(user)?.get(name).cloned()
    }

    /// Looks for one function that another process may have stored.
    async fn find(self: &Arc<Self>, user: &str, name: &str) -> Result<Arc<Entry>, Problem> {
        let (functions, user, name) = (Arc::clone(self), user.to_owned(), name.to_owned());
        blocking(move || {
            // What takes time is done here, where nobody waits for it who needs another function.
            if functions.storage.is_shared() {
                drop(functions.storage.function(&user, &name));
            }
            Ok(functions.adopt(&user, &name, None)?)
        })
        .await
    }

    /// Has calls run the version of a function that the storage has, which may be one that was just loaded.
    fn adopt(
        &self,
        user: &str,
        name: &str,
        loaded: Option<(&StoredFunction, Function)>,
    ) -> Result<Arc<Entry>, RegistryError> {
        let _writing = locked(&self.writing);
        let found = self.storage.function(user, name);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let stored = match found {
            Ok(stored) => stored,
            Err(error) => {
                if matches!(error, RegistryError::NoFunction { .. })
                    && let Some(functions) = table.get_mut(user)
                {
                    functions.remove(name);
                }
                return Err(error);
            }
        };
        let functions = table.entry(user.to_owned()).or_default();
        // It may have been loaded on a runtime that is the old one by now.
        let runtime = self.runtime();
        let is_wanted = |(version, loaded): &(&StoredFunction, Function)| {
            **version == stored && Arc::ptr_eq(&loaded.runtime, &runtime.inner)
        };
        let loaded = loaded.filter(is_wanted).map(|(_, loaded)| loaded);
        if let Some(known) = functions.get(name).filter(|it| it.stored == stored && loaded.is_none()) {
            return Ok(Arc::clone(known));
        }
        let entry = entry(stored, loaded);
        functions.insert(name.to_owned(), Arc::clone(&entry));
        Ok(entry)
    }

    /// Loads this version of a function.
    fn load(&self, entry: &Entry, is_earlier: bool) -> Result<Function, Replaced> {
        let StoredFunction { user, name, .. } = &entry.stored;
        let failed = |error| Replaced::Failed(Problem::stored(error));
        if is_earlier {
            let version = entry.stored.version();
            let source = self.storage.source_of_version(user, name, version).map_err(failed)?;
            let function = self.runtime().function(user, name).source(source).load_unnamed();
            // Calls by name are for the current one.
            return function.map_err(|error| failed(error.into()));
        }
        let (stored, source) = self.storage.source(user, name).map_err(failed)?;
        if stored != entry.stored {
            return Err(Replaced::ByAnother);
        }
        self.load_source(&self.runtime(), user, name, &source).map_err(failed)
    }

    fn load_source(
        &self,
        runtime: &Runtime,
        user: &str,
        name: &str,
        source: &[u8],
    ) -> Result<Function, RegistryError> {
        let function = runtime.function(user, name).source(source);
        // Who chains to one that others may replace looks it up, because it may be another one by then.
        Ok(if self.storage.is_shared() { function.load_unnamed()? } else { function.load()? })
    }
}

/// What is to be run on another runtime.
pub(super) struct Prepared {
    runtime: Runtime,
    /// By user and name, and of which version.
    loaded: HashMap<(String, String), (StoredFunction, Function)>,
    /// What cannot be loaded there, and why.
    pub(super) failed: Vec<(String, RegistryError)>,
}

/// Why a version could not be loaded.
enum Replaced {
    ByAnother,
    Failed(Problem),
}

fn entry(stored: StoredFunction, loaded: Option<Function>) -> Arc<Entry> {
    Arc::new(Entry { stored, loaded: OnceCell::new_with(loaded), asking: tokio::sync::Mutex::default() })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does on another thread what blocks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(Problem::internal("the host panicked")))
}
