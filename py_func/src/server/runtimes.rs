//! The runtime that functions are loaded on, which can be replaced while calls are made.

use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

use faasm_image::Image;

use crate::registry::{Registry, RegistryError, StoredRuntime};
use crate::runtime::{Runtime, RuntimeBuilder};

/// The runtime, and how to make another one.
pub(super) struct Runtimes {
    builder: RuntimeBuilder,
    current: RwLock<Current>,
    /// Held while one is made.
    making: Mutex<()>,
}

/// A runtime, and what the store says of it if it came from there.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) runtime: Runtime,
    pub(super) stored: Option<StoredRuntime>,
}

impl Runtimes {
    /// One to begin with.
    pub(super) fn new(builder: RuntimeBuilder, store: &Registry) -> Result<Self, RegistryError> {
        let runtime = builder.clone().build()?;
        let stored = store.runtime()?.filter(|stored| stored.image == runtime.image_directory());
        // Others make calls on the same threads.
        let builder = builder.threads_of(&runtime);
        Ok(Self { builder, current: RwLock::new(Current { runtime, stored }), making: Mutex::default() })
    }

    /// The one that is used.
    pub(super) fn current(&self) -> Current {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a runtime of what was sent, stores it, and uses it from then on. One on which nothing can be called is not stored.
    pub(super) fn replace(&self, store: &Registry, content: &[u8]) -> Result<StoredRuntime, RegistryError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current().runtime;
        let like = Image::open(before.image_directory()).map_err(crate::Error::from)?;
        let stored = store.take_runtime(content, &like, &|image| self.check(image))?;
        // Not the one that was checked: the image has moved, and is used from where it is now.
        let runtime = self.builder.clone().image(&stored.image).build()?;
        let current = Current { runtime, stored: Some(stored.clone()) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        Ok(stored)
    }

    /// Makes a call on an image.
    fn check(&self, image: &Path) -> Result<(), RegistryError> {
        let refused = |reason: String| RegistryError::NoRuntime { reason };
        let runtime =
            self.builder.clone().image(image).build().map_err(|error| refused(error.to_string()))?;
        let function = runtime.function("faasm", "check").source("def faasm_main(data): return data[::-1]\n");
        let function = function.load_unnamed().map_err(|error| refused(error.to_string()))?;
        match function.call("olleh").wait() {
            Ok(output) if output.output == b"hello" => Ok(()),
            Ok(_) => Err(refused("a function on it answers something else than it should".to_owned())),
            Err(failure) => Err(refused(failure.to_string())),
        }
    }
}
