//! The functions of a store, loaded when they are first called and from then on ready.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::problem::Problem;
use super::runtimes::Runtimes;
use crate::function::Function;
use crate::registry::{Registry, RegistryError, StoredFunction, check_function_name};

/// All functions of a store that this process knows of. What it has stored itself it knows at once; what other processes store it
/// finds when it is asked for something it does not know, and when it looks through the whole store again.
pub(super) struct Functions {
    store: Registry,
    runtimes: Arc<Runtimes>,
    /// By user and name.
    table: RwLock<HashMap<String, HashMap<String, Arc<Entry>>>>,
    /// Earlier versions that were called, by user, name and version.
    earlier: Mutex<HashMap<[String; 3], Arc<Entry>>>,
    /// Held while store and table are changed, so that they agree on which upload was the last.
    writing: Mutex<()>,
}

/// A version of a function. Calls that have begun keep theirs.
pub(super) struct Entry {
    pub(super) stored: StoredFunction,
    loaded: OnceCell<Function>,
}

/// Above so many earlier versions that were called, all of them are forgotten.
const EARLIER: usize = 64;

impl Functions {
    /// Finds what is in the store. Nothing is loaded yet.
    pub(super) fn open(store: Registry, runtimes: Arc<Runtimes>) -> Result<Self, RegistryError> {
        let functions = Self {
            store,
            runtimes,
            table: RwLock::default(),
            earlier: Mutex::default(),
            writing: Mutex::default(),
        };
        functions.look_again()?;
        Ok(functions)
    }

    /// Looks through the store. Versions that are still the ones in the store stay loaded, unless they are to be forgotten.
    fn look_again(&self) -> Result<(), RegistryError> {
        let _writing = locked(&self.writing);
        let mut table: HashMap<String, HashMap<String, Arc<Entry>>> = HashMap::new();
        for stored in self.store.functions()? {
            let known = self.known(&stored.user, &stored.name).filter(|it| it.stored == stored);
            let user = table.entry(stored.user.clone()).or_default();
            user.insert(stored.name.clone(), known.unwrap_or_else(|| entry(stored, None)));
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }

    /// Forgets all that was loaded, and looks through the store again.
    pub(super) async fn flush(self: &Arc<Self>) -> Result<(), Problem> {
        let functions = Arc::clone(self);
        blocking(move || {
            functions.table.write().unwrap_or_else(PoisonError::into_inner).clear();
            functions.forget_earlier(|_| true);
            Ok(functions.look_again()?)
        })
        .await
    }

    /// A function, loaded; or a version of it, which is named by the beginning of its hash.
    pub(super) async fn get(
        self: &Arc<Self>,
        user: &str,
        name: &str,
        version: Option<&str>,
    ) -> Result<(Arc<Entry>, Function), Problem> {
        let current = match self.known(user, name) {
            Some(entry) => entry,
            None => self.find(user, name).await?,
        };
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
            let (functions, entry, is_earlier) = (Arc::clone(self), Arc::clone(&entry), earlier.is_some());
            blocking(move || functions.load(&entry, is_earlier))
        };
        let function = entry.loaded.get_or_try_init(load).await?.clone();
        Ok((entry, function))
    }

    /// An earlier version of a function.
    async fn earlier(self: &Arc<Self>, user: &str, name: &str, version: &str) -> Result<Arc<Entry>, Problem> {
        let key = [user, name, version].map(str::to_owned);
        if let Some(entry) = locked(&self.earlier).get(&key) {
            return Ok(Arc::clone(entry));
        }
        let [user, name, version] = key.clone();
        let stored = self.versions(user, name).await?.into_iter().find(|it| it.version() == version);
        let stored = stored.ok_or_else(|| {
            let [user, name, version] = key.clone();
            RegistryError::NoVersion { user, name, version }
        })?;
        let mut known = locked(&self.earlier);
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
        blocking(move || Ok(functions.store.versions(&user, &name)?)).await
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
                None => match functions.store.versions(&user, &name)?.get(1) {
                    Some(before) => before.version().to_owned(),
                    None => {
                        let detail = format!("{user}/{name} has no version before this one");
                        return Err(Problem::no_version(detail));
                    }
                },
            };
            let source = functions.store.source_of_version(&user, &name, &version)?;
            Ok(functions.upload_now(&user, &name, &source)?.0)
        })
        .await
    }

    /// What is known of a function.
    pub(super) async fn stored(self: &Arc<Self>, user: &str, name: &str) -> Result<StoredFunction, Problem> {
        match self.known(user, name) {
            Some(entry) => Ok(entry.stored.clone()),
            None => Ok(self.find(user, name).await?.stored.clone()),
        }
    }

    /// All functions, by user and name.
    pub(super) fn list(&self) -> Vec<StoredFunction> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> =
            table.values().flat_map(HashMap::values).map(|entry| entry.stored.clone()).collect();
        drop(table);
        list.sort_by(|a, b| (&a.user, &a.name).cmp(&(&b.user, &b.name)));
        list
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
        let (loaded, _writing) = loop {
            let runtime = self.runtimes.current().runtime;
            let loaded = runtime.function(user, name).source(source).load()?;
            let writing = locked(&self.writing);
            // Otherwise it was replaced meanwhile.
            if self.runtimes.current().runtime.is(&runtime) {
                break (loaded, writing);
            }
        };
        let stored = self.store.store(user, name, source)?;
        let before = self.insert(entry(stored.clone(), Some(loaded)));
        Ok((stored, before.is_none()))
    }

    /// How many there are.
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
                None => functions.store.source(&user, &name),
                Some(version) => functions.store.source_of_version(&user, &name, &version),
            }?)
        })
        .await
    }

    /// Removes a function from the store. Calls that have begun go on.
    pub(super) async fn remove(self: &Arc<Self>, user: String, name: String) -> Result<(), Problem> {
        let functions = Arc::clone(self);
        blocking(move || {
            let _writing = locked(&functions.writing);
            functions.store.remove(&user, &name)?;
            let mut table = functions.table.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(of_user) = table.get_mut(&user) {
                of_user.remove(&name);
            }
            drop(table);
            functions.forget_earlier(|[of, named, _]| (of, named) == (&user, &name));
            Ok(())
        })
        .await
    }

    fn known(&self, user: &str, name: &str) -> Option<Arc<Entry>> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(user)?.get(name).cloned()
    }

    fn insert(&self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let (user, name) = (entry.stored.user.clone(), entry.stored.name.clone());
        table.entry(user).or_default().insert(name, entry)
    }

    /// Looks for one function that another process may have stored.
    async fn find(self: &Arc<Self>, user: &str, name: &str) -> Result<Arc<Entry>, Problem> {
        let (functions, user, name) = (Arc::clone(self), user.to_owned(), name.to_owned());
        blocking(move || {
            let _writing = locked(&functions.writing);
            if let Some(entry) = functions.known(&user, &name) {
                return Ok(entry);
            }
            let found = entry(functions.store.function(&user, &name)?, None);
            functions.insert(Arc::clone(&found));
            Ok(found)
        })
        .await
    }

    fn load(&self, entry: &Entry, is_earlier: bool) -> Result<Function, Problem> {
        let StoredFunction { user, name, .. } = &entry.stored;
        let runtime = self.runtimes.current().runtime;
        if !is_earlier {
            return self.store.load(&runtime, user, name).map_err(Problem::stored);
        }
        let source = self.store.source_of_version(user, name, entry.stored.version())?;
        let function = runtime.function(user, name).source(source);
        // Calls by name are for the current one.
        function.load_unnamed().map_err(|error| Problem::stored(error.into()))
    }
}

fn entry(stored: StoredFunction, loaded: Option<Function>) -> Arc<Entry> {
    Arc::new(Entry { stored, loaded: OnceCell::new_with(loaded) })
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
