//! Functions: a module that was imported once, kept as an image of the memory after that.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use faasm_image::{Fault, MemoryImage};
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use crate::admission::{Place, User};
use crate::call::{Account, Call, CallFailure, Cancel, Output};
use crate::error::Error;
use crate::host::{CallContext, Host, Lineage, Volume};
use crate::metrics;
use crate::package;
use crate::runtime::{Inner, Runtime};
use crate::sandbox::Sandbox;

/// The entry point of a function that names no other.
const DEFAULT_ENTRY: &str = "faasm_main";

/// A function, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    pub(crate) inner: Arc<Loaded>,
    pub(crate) runtime: Arc<Inner>,
}

impl Function {
    /// A call with `input`, in a sandbox of its own. Nothing happens before it is awaited.
    pub fn call(&self, input: impl Into<Vec<u8>>) -> Call<'_> {
        Call { function: self, input: input.into(), entry: None, timeout: None, account: None }
    }

    /// Whose function it is.
    pub fn user(&self) -> &str {
        &self.inner.user.name
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

/// A function that is about to be loaded.
#[must_use = "nothing is loaded before `load` is called"]
pub struct FunctionBuilder<'a> {
    runtime: &'a Runtime,
    user: String,
    name: String,
    file: Option<String>,
    source: Option<Vec<u8>>,
    folder: Option<PathBuf>,
    entry: String,
}

impl<'a> FunctionBuilder<'a> {
    pub(crate) fn new(runtime: &'a Runtime, user: &str, name: &str) -> Self {
        let (user, name) = (user.to_owned(), name.to_owned());
        Self { runtime, user, name, file: None, source: None, folder: None, entry: DEFAULT_ENTRY.to_owned() }
    }

    /// The source of the function's module; or an archive, zip, tar or tar.gz, of a [folder](Self::folder), as its bytes tell.
    pub fn source(mut self, source: impl Into<Vec<u8>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A folder of the machine, in place of a source. It is read once, when the function is loaded, and the function sees it as
    /// `/function`. The module is `main.py`, or else the package that `__init__.py` makes, at the folder's top or in its only
    /// folder. Names that begin with a dot are left out.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_path_buf());
        self
    }

    /// What tracebacks call the source of a single module; by default `<name>.py`.
    pub fn file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The entry point of calls that name no other; by default `faasm_main`.
    pub fn entry(mut self, entry: impl Into<String>) -> Self {
        self.entry = entry.into();
        self
    }

    /// Imports the module, in a sandbox with the runtime's limits, and keeps the memory for calls to start from. Blocks for
    /// milliseconds, or as long as the module's own code takes. Other functions can chain to it by its name from then on, for as long
    /// as the result lives.
    ///
    /// # Errors
    ///
    /// When a name cannot be used, there is no source, or the import fails.
    pub fn load(self) -> Result<Function, Error> {
        let function = self.load_unnamed()?;
        function.runtime.functions.insert(&function.inner);
        Ok(function)
    }

    /// The same, but other functions cannot chain to it.
    pub(crate) fn load_unnamed(self) -> Result<Function, Error> {
        for name in [&self.user, &self.name] {
            if !is_valid_name(name) {
                return Err(Error::Name { name: name.clone() });
            }
        }
        let runtime = Arc::clone(&self.runtime.inner);
        let Self { user, name, entry, .. } = self;
        let source = match (self.folder, self.source) {
            (Some(folder), _) => match package::pack(&folder) {
                Ok(archive) => archive,
                Err(source) => return Err(Error::Package { user, function: name, source }),
            },
            (None, Some(source)) => source,
            (None, None) => return Err(Error::NoSource { user, function: name }),
        };
        let file = self.file.unwrap_or_else(|| format!("{name}.py"));
        let module = Module { user, name, file, entry, source };
        let loaded = runtime.executor.run_blocking(module.load(&runtime, false, Lineage::default()));
        let inner = loaded.unwrap_or(Err(Error::Stopped))?;
        Ok(Function { inner, runtime })
    }
}

/// A module that is to become a function.
pub(crate) struct Module {
    user: String,
    name: String,
    file: String,
    entry: String,
    source: Vec<u8>,
}

impl Module {
    /// One with the defaults for all that is not named.
    pub(crate) fn new(user: &str, name: &str, source: Vec<u8>) -> Self {
        let (user, name, entry) = (user.to_owned(), name.to_owned(), DEFAULT_ENTRY.to_owned());
        Self { file: format!("{name}.py"), user, name, entry, source }
    }

    /// Imports it; see [`FunctionBuilder::load`]. `admitted` and `lineage` as in [`Request`].
    async fn load(
        self,
        runtime: &Arc<Inner>,
        admitted: bool,
        lineage: Lineage,
    ) -> Result<Arc<Loaded>, Error> {
        let Self { user, name, file, entry, mut source } = self;
        let seen = [user.as_bytes(), name.as_bytes(), file.as_bytes(), entry.as_bytes(), &source];
        let kept = runtime.images.as_ref().map(|images| (images, images.key(&seen)));
        let package = match package::archive_kind(&source).map(|_| package::open(&source, &name)) {
            None => None,
            Some(Ok(package)) => Some(package),
            Some(Err(source)) => return Err(Error::Package { user, function: name, source }),
        };
        let (mut module, mut file) = (name.clone(), file);
        let package = package.map(|package| {
            // Without a file the module is one of the package.
            (module, file, source) = (package.module, String::new(), Vec::new());
            package.files
        });
        // The texts end with a NUL, so none may contain one.
        let mut request = Vec::new();
        for text in [&module, &file, &entry] {
            request.extend(text.bytes().filter(|&byte| byte != 0));
            request.push(0);
        }
        request.extend(source);
        let of_user = runtime.executor.gate.user(&user);
        if let Some(memory) = kept.as_ref().and_then(|(images, key)| images.open(runtime.base(), key)) {
            return Ok(Arc::new(Loaded { user: of_user, name, entry, package, memory }));
        }
        let context = |place| CallContext::loading(runtime, &user, &name, lineage, place);
        let span = tracing::info_span!(target: "py_func", "load", user, function = name);
        let import = import(runtime, &of_user, context, request, package.clone(), admitted);
        let memory = match import.instrument(span).await {
            Ok(memory) => memory?,
            Err(source) => return Err(Error::Load { user, function: name, source }),
        };
        if let Some((images, key)) = kept {
            images.save(&memory, &key);
        }
        Ok(Arc::new(Loaded { user: of_user, name, entry, package, memory }))
    }
}

async fn import(
    runtime: &Arc<Inner>,
    user: &Arc<User>,
    context: impl FnOnce(Place) -> CallContext,
    request: Vec<u8>,
    package: Option<Arc<Volume>>,
    admitted: bool,
) -> Result<faasm_image::Result<MemoryImage>, CallFailure> {
    let place = runtime.executor.gate.enter(user, admitted).await.map_err(CallFailure::busy)?;
    let host = Host::new(request, package, context(place));
    let mut sandbox = Sandbox::new(runtime, runtime.base(), host, None)?;
    let status = sandbox.guest.call("faasm_load", ()).await;
    let memory = sandbox.guest.capture();
    let status = match (&memory, status) {
        // An import that ended just when it was interrupted, or in spite of it.
        (Err(faasm_image::Error::CutShort), Ok(0)) => Err(Fault::Deadline),
        (_, status) => status,
    };
    // Whatever went wrong in the guest explains itself better than a memory that cannot be captured.
    let result = sandbox.finish(status);
    metrics::loaded(&result);
    result.map(|_| memory)
}

/// Names of users and functions become names of files and parts of addresses.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(valid)
}

/// What is kept of a function.
pub(crate) struct Loaded {
    pub(crate) user: Arc<User>,
    pub(crate) name: String,
    pub(crate) entry: String,
    /// The files of a function that is a package.
    package: Option<Arc<Volume>>,
    memory: MemoryImage,
}

impl Loaded {
    /// Makes a call.
    pub(crate) async fn run(
        self: Arc<Self>,
        runtime: Arc<Inner>,
        request: Request,
    ) -> Result<Output, CallFailure> {
        let Request { input, entry, timeout, account, lineage, admitted, cancel } = request;
        let place = runtime.executor.gate.enter(&self.user, admitted).await;
        let place = place.map_err(CallFailure::busy).inspect_err(metrics::turned_away)?;
        let context = CallContext::calling(&runtime, &self, entry.as_deref(), lineage, place);
        let span = context.span();
        let call = async {
            let host = Host::new(input, self.package.clone(), context).counted_by(account);
            let result = self.run_in_sandbox(&runtime, host, entry, timeout, cancel).await;
            metrics::called(&result);
            let (outcome, usage) = metrics::outcome(&result);
            tracing::debug!(target: "py_func", outcome, ?usage, "the call ended");
            result
        };
        // In its place, since it is large.
        pin!(call).instrument(span).await
    }

    async fn run_in_sandbox(
        &self,
        runtime: &Arc<Inner>,
        host: Host,
        entry: Option<String>,
        timeout: Option<Duration>,
        cancel: Cancel,
    ) -> Result<Output, CallFailure> {
        let mut sandbox = Sandbox::new(runtime, &self.memory, host, timeout)?;
        cancel.arm(sandbox.guest.stopper());
        let status = sandbox.call(entry.as_deref().unwrap_or_default()).await;
        // From here on there is nothing left to stop, and soon another call in its place.
        cancel.disarm();
        sandbox.finish(status)
    }
}

/// What is asked of a function.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) input: Vec<u8>,
    pub(crate) entry: Option<String>,
    pub(crate) timeout: Option<Duration>,
    /// Who counts what the host holds for it.
    pub(crate) account: Option<Arc<dyn Account>>,
    pub(crate) lineage: Lineage,
    /// Whether it does not count as one that waits: the call it comes from has waited.
    pub(crate) admitted: bool,
    pub(crate) cancel: Cancel,
}

/// Functions that can be called by name.
#[derive(Default)]
pub(crate) struct Functions {
    /// Those that somebody else has, as long as that is so.
    loaded: Mutex<HashMap<Name, Weak<Loaded>>>,
    /// Those that were looked up, with the source that they are loaded from, once for all calls.
    found: Mutex<HashMap<Name, Found>>,
    lookup: Option<Arc<Lookup>>,
}

/// User and name.
type Name = (String, String);

type Found = (Vec<u8>, Arc<OnceCell<Arc<Loaded>>>);

/// Answers the source of a function, if there is one by that user and name.
pub(crate) type Lookup = dyn Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync;

/// A function that was called by its name.
pub(crate) enum Target {
    Loaded(Arc<Loaded>),
    Found(Module, Arc<OnceCell<Arc<Loaded>>>),
}

impl Functions {
    pub(crate) fn new(lookup: Option<Arc<Lookup>>) -> Self {
        Self { lookup, ..Self::default() }
    }

    fn insert(&self, function: &Arc<Loaded>) {
        let mut loaded = locked(&self.loaded);
        // Now and then, so that names of functions that are gone do not pile up.
        if loaded.len().is_power_of_two() {
            loaded.retain(|_, function| function.strong_count() > 0);
        }
        loaded.insert((function.user.name.clone(), function.name.clone()), Arc::downgrade(function));
    }

    /// The function that was loaded last by that name, else the one that can be looked up.
    pub(crate) fn get(&self, user: &str, name: &str) -> Option<Target> {
        let key = (user.to_owned(), name.to_owned());
        let loaded = locked(&self.loaded).get(&key).and_then(Weak::upgrade);
        if let Some(function) = loaded {
            return Some(Target::Loaded(function));
        }
        let source = self.lookup.as_ref()?(user, name)?;
        let mut found = locked(&self.found);
        let (known, cell) = found.entry(key).or_default();
        if *known != source {
            (*known, *cell) = (source.clone(), Arc::default());
        }
        Some(Target::Found(Module::new(user, name, source), Arc::clone(cell)))
    }
}

impl Target {
    /// The function, loaded if it was not.
    pub(crate) async fn load(self, runtime: &Arc<Inner>, lineage: Lineage) -> Result<Arc<Loaded>, Error> {
        match self {
            Self::Loaded(function) => Ok(function),
            Self::Found(module, cell) => {
                cell.get_or_try_init(|| module.load(runtime, true, lineage)).await.cloned()
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for name in ["a", "hello_world-2.0", "A", "0", &long] {
            assert!(is_valid_name(name), "{name:?}");
        }
        let too_long = "a".repeat(65);
        for name in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\0", &too_long] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }
}
