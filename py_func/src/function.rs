//! Functions: a module that was imported once, kept as an image of the memory after that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use faasm_image::MemoryImage;

use crate::call::{Call, CallFailure, Cancel, Output};
use crate::error::Error;
use crate::host::{CallContext, Host, Lineage};
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
        Call { function: self, input: input.into(), entry: None, timeout: None }
    }

    /// Whose function it is.
    pub fn user(&self) -> &str {
        &self.inner.user
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
    entry: String,
}

impl<'a> FunctionBuilder<'a> {
    pub(crate) fn new(runtime: &'a Runtime, user: &str, name: &str) -> Self {
        let (user, name) = (user.to_owned(), name.to_owned());
        Self { runtime, user, name, file: None, source: None, entry: DEFAULT_ENTRY.to_owned() }
    }

    /// The source of the function's module.
    pub fn source(mut self, source: impl Into<Vec<u8>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What tracebacks call the source; by default `<name>.py`.
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
        for name in [&self.user, &self.name] {
            if !is_valid_name(name) {
                return Err(Error::Name { name: name.clone() });
            }
        }
        let runtime = Arc::clone(&self.runtime.inner);
        let Self { user, name, entry, .. } = self;
        let Some(source) = self.source else { return Err(Error::NoSource { user, function: name }) };
        let file = self.file.unwrap_or_else(|| format!("{name}.py"));

        // The texts end with a NUL, so none may contain one.
        let mut request = Vec::new();
        for text in [&name, &file, &entry] {
            request.extend(text.bytes().filter(|&byte| byte != 0));
            request.push(0);
        }
        request.extend(source);

        let host = Host::new(request, CallContext::loading(&runtime, &user, &name));
        let load = async {
            let _permit = runtime.executor.admit().await.ok_or_else(|| CallFailure::busy(&runtime))?;
            let mut sandbox = Sandbox::new(&runtime, runtime.base(), host, None)?;
            let status = sandbox.guest.call("faasm_load", ()).await;
            let memory = sandbox.guest.capture();
            // Whatever went wrong in the guest explains itself better than a memory that cannot be captured.
            sandbox.finish(status).map(|_| memory)
        };
        let loaded = runtime.executor.run_blocking(load);
        let memory = match loaded.unwrap_or_else(|| Err(CallFailure::stopped())) {
            Ok(memory) => memory?,
            Err(source) => return Err(Error::Load { user, function: name, source }),
        };
        let inner = Arc::new(Loaded { user, name, entry, memory });
        runtime.functions.insert(&inner);
        Ok(Function { inner, runtime })
    }
}

/// Names of users and functions become names of files and parts of addresses.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(valid)
}

/// What is kept of a function.
pub(crate) struct Loaded {
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) entry: String,
    memory: MemoryImage,
}

impl Loaded {
    /// Makes a call.
    pub(crate) async fn run(
        self: Arc<Self>,
        runtime: Arc<Inner>,
        request: Request,
    ) -> Result<Output, CallFailure> {
        let Request { input, entry, timeout, lineage, admitted, cancel } = request;
        let permit = match admitted {
            true => runtime.executor.readmit().await,
            false => runtime.executor.admit().await,
        };
        let permit = permit.ok_or_else(|| CallFailure::busy(&runtime))?;
        let context = CallContext::calling(&runtime, &self, entry.as_deref(), lineage, permit);
        let mut sandbox = Sandbox::new(&runtime, &self.memory, Host::new(input, context), timeout)?;
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
    pub(crate) lineage: Lineage,
    /// Whether it does not count as one that waits: the call it comes from has waited.
    pub(crate) admitted: bool,
    pub(crate) cancel: Cancel,
}

/// Functions that can be called by name, as long as somebody has them.
#[derive(Default)]
pub(crate) struct Functions(Mutex<HashMap<(String, String), Weak<Loaded>>>);

impl Functions {
    fn insert(&self, function: &Arc<Loaded>) {
        let mut functions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Now and then, so that names of functions that are gone do not pile up.
        if functions.len().is_power_of_two() {
            functions.retain(|_, function| function.strong_count() > 0);
        }
        functions.insert((function.user.clone(), function.name.clone()), Arc::downgrade(function));
    }

    /// The function that was loaded last by that name.
    pub(crate) fn get(&self, user: &str, name: &str) -> Option<Arc<Loaded>> {
        let functions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        functions.get(&(user.to_owned(), name.to_owned()))?.upgrade()
    }
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
