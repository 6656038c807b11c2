//! Changing the runtime while calls go on.
//!
//! The new runtime is made beside the old one, and what is loaded on the old one is loaded on it; until then nothing has changed. Then calls
//! that begin run on the new one. Those that have begun go on with the old one, which is gone when the last of them has ended. The store
//! remembers both, so that a server which is started again runs the new one ([`first`](super::first)) and can go back to the old one.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use faasm_bundle::{DIRECTORY, Location, PublicKey};
use faasm_image::Image;

use super::first::{Named, open};
use super::functions::{Functions, blocking};
use super::problem::Problem;
use super::routes::RuntimeDocument;
use crate::registry::{
    Choice, ChosenBundle, Fetch, Registry, RegistryError, Storage, StoredRuntime, Upgraded,
};
use crate::runtime::{Runtime, RuntimeBuilder};

/// What it takes to change the runtime.
pub(super) struct Upgrades {
    builder: RuntimeBuilder,
    store: Registry,
    storage: Arc<dyn Storage>,
    /// By which bundles must be signed.
    key: Option<PublicKey>,
    /// What this server was told to run when it was started.
    named: Option<String>,
    /// Locked during an upgrade.
    state: Arc<tokio::sync::Mutex<State>>,
    running: RwLock<RuntimeDocument>,
}

/// Between which runtimes a server goes back and forth.
struct State {
    running: Choice,
    previous: Option<Choice>,
}

/// What a server was started with: what it was told to run, and where the bundle is that it runs, for others.
pub(super) struct Started {
    pub(super) named: Option<Named>,
    pub(super) bundle: Option<String>,
}

/// The runtime to change to.
pub(super) enum Wanted {
    /// The one in a bundle, and its place as other servers are told.
    Bundle(Location, String),
    /// One that was sent: a bundle, or a module alone.
    Sent(Vec<u8>),
    /// The one before.
    Previous,
}

impl Upgrades {
    pub(super) fn new(
        builder: RuntimeBuilder,
        store: Registry,
        storage: Arc<dyn Storage>,
        key: Option<PublicKey>,
        started: Started,
        runtime: &Runtime,
    ) -> Result<Self, RegistryError> {
        let named = started.named.map(|it| it.0);
        let stored = store.runtime()?;
        let bundle = started.bundle.filter(|_| storage.is_shared());
        let now = Choice::new(
            runtime.image_directory().to_owned(),
            stored.as_ref().map(|it| it.sha256.clone()),
            bundle,
        );
        let running = RwLock::new(describe(runtime, stored));
        let mut previous = None;
        if let Some(before) = store.upgraded()? {
            let is_same = before.running.image == now.image;
            // Then this one takes its place for now, and when the server is started again it may run.
            let cannot_run = !is_same && before.named == named && open(&before.running.image).is_err();
            previous = if is_same || cannot_run { before.previous } else { Some(before.running) };
            if !cannot_run {
                // It was not upgraded to what it was told since.
                let (running, previous) = (now.clone(), previous.clone());
                store.remember(Upgraded { named: named.clone(), running, previous })?;
            }
        }
        let state = Arc::new(tokio::sync::Mutex::new(State { running: now, previous }));
        // Others make calls on the same threads.
        let builder = builder.threads_of(runtime);
        Ok(Self { builder, store, storage, key, named, state, running })
    }

    /// The runtime that functions run on.
    pub(super) fn running(&self) -> RuntimeDocument {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the runtime, unless functions that are loaded cannot be loaded on the new one, and that is not to be put up with.
    pub(super) async fn run(
        self: &Arc<Self>,
        functions: &Arc<Functions>,
        wanted: Wanted,
        force: bool,
    ) -> Result<RuntimeDocument, Problem> {
        let Ok(mut state) = Arc::clone(&self.state).try_lock_owned() else {
            return Err(Problem::new(StatusCode::CONFLICT, "upgrading", "another upgrade is under way"));
        };
        let (upgrades, functions) = (Arc::clone(self), Arc::clone(functions));
        blocking(move || {
            // Others may have changed the store's runtime.
            let stored = upgrades.store.runtime()?.map(|it| it.sha256);
            let before = Choice { stored, ..state.running.clone() };
            let chosen = upgrades.storage.bundle()?;
            let is_rollback = matches!(wanted, Wanted::Previous);
            let choice = match wanted {
                Wanted::Bundle(location, place) => upgrades.fetch(location, place)?,
                Wanted::Sent(content) => upgrades.take(&content, &before.image)?,
                Wanted::Previous => upgrades.previous(&state, chosen.as_ref())?,
            };
            let chosen = upgrades.choose(&choice, &before, chosen, is_rollback);
            // The bundle may have brought functions.
            functions.look_again()?;
            if choice.image == before.image {
                // It runs already, but perhaps it is not what is run after the next start.
                upgrades.record(chosen, choice.clone(), state.previous.clone())?;
                state.running = choice;
                return upgrades.now_running(&functions.runtime());
            }
            let runtime = upgrades.builder.clone().image(&choice.image).build()?;
            let prepared = functions.prepare(runtime.clone())?;
            for (name, error) in &prepared.failed {
                tracing::warn!(target: "py_func::server", "{name} cannot be loaded on the new runtime: {error}");
            }
            if let [(name, error), ..] = prepared.failed.as_slice()
                && !force
            {
                let count = prepared.failed.len();
                let detail =
                    format!("{count} functions cannot be loaded on the new runtime, among them {name}: {error}");
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "upgrade", detail)
                    .hint("the log has all of them; upload versions that can, or put up with it with `force`"));
            }
            upgrades.record(chosen, choice.clone(), Some(before.clone()))?;
            functions.switch(prepared);
            *state = State { running: choice, previous: Some(before) };
            let document = upgrades.now_running(&runtime)?;
            let version = document.version.as_deref().unwrap_or("without a version");
            tracing::info!(target: "py_func::server", "running py_func {version}");
            Ok(document)
        })
        .await
    }

    /// The runtime to go back to. Of servers that share a storage any may have changed what all of them are to run, and any can go back.
    fn previous(&self, state: &State, chosen: Option<&ChosenBundle>) -> Result<Choice, Problem> {
        let own = state.previous.as_ref();
        let nothing = |detail: &str| {
            Problem::new(StatusCode::CONFLICT, "no-previous", detail)
                .hint("name the bundle of the runtime to run")
        };
        if !self.storage.is_shared() {
            return own.cloned().ok_or_else(|| nothing("this server has run no other runtime before"));
        }
        let all = chosen.map(|it| &it.place);
        let is_behind = state.running.bundle.as_ref() != all;
        // Others have gone back to it already, and this one follows.
        if is_behind && let Some(own) = own.filter(|it| it.bundle.as_ref() == all) {
            return Ok(own.clone());
        }
        if let Some(before) = chosen.and_then(|it| it.previous.clone()) {
            // To take it would change nothing here, and what all others run.
            if state.running.bundle.as_ref() == Some(&before) {
                return Err(nothing("this server runs what others ran before they were changed"));
            }
            return match own.filter(|it| it.bundle.as_ref() == Some(&before)) {
                Some(own) => Ok(own.clone()),
                None => self.fetch(Location::parse(&before).map_err(RegistryError::from)?, before),
            };
        }
        // What this server ran before others have changed it is not what they ran.
        own.filter(|_| !is_behind)
            .cloned()
            .ok_or_else(|| nothing("no other runtime was run before that this server could fetch"))
    }

    /// What servers that share the storage are to run after a change, in place of what was `chosen`.
    fn choose(
        &self,
        to: &Choice,
        from: &Choice,
        chosen: Option<ChosenBundle>,
        is_rollback: bool,
    ) -> Option<ChosenBundle> {
        let place = to.bundle.clone()?;
        // Who goes back takes back the same instruction.
        let instead_of = chosen.as_ref().filter(|_| is_rollback).map(|it| it.instead_of.clone());
        let previous = match chosen {
            Some(chosen) if chosen.place == place => chosen.previous,
            Some(chosen) => Some(chosen.place),
            None => from.bundle.clone().filter(|it| *it != place),
        };
        Some(ChosenBundle { place, instead_of: instead_of.unwrap_or_else(|| self.named.clone()), previous })
    }

    /// Has servers that start from now on run it. What fails more easily comes first, so that little is left half done.
    fn record(
        &self,
        chosen: Option<ChosenBundle>,
        running: Choice,
        previous: Option<Choice>,
    ) -> Result<(), RegistryError> {
        self.storage.choose_bundle(chosen.as_ref())?;
        self.store.choose(running.stored.as_deref())?;
        self.store.remember(Upgraded { named: self.named.clone(), running, previous })
    }

    fn now_running(&self, runtime: &Runtime) -> Result<RuntimeDocument, Problem> {
        let document = describe(runtime, self.store.runtime()?);
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = document.clone();
        Ok(document)
    }

    fn fetch(&self, location: Location, place: String) -> Result<Choice, Problem> {
        if location.is_local() {
            self.check_alone()?;
        }
        tracing::info!(target: "py_func::server", "fetching {location}");
        let fetch = Fetch { location, key: self.key.clone(), trust_local: false };
        let log = |text: &str| tracing::info!(target: "py_func::server", "{text}");
        let fetched = self.store.fetch_beside(&fetch, &*self.storage, &log, &|_, _| ());
        let fetched = fetched.map_err(|error| match (error, &fetch.location) {
            // It is the client who has named this file, so it is not the server's fault that it cannot be read.
            (RegistryError::Bundle(faasm_bundle::Error::Io { path, source, .. }), Location::Path(named))
                if path == *named =>
            {
                let detail = format!("failed to open the bundle {path:?}: {source}");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bundle", detail)
                    .hint("name a file that the server can read, or a URL")
            }
            (error, _) => error.into(),
        })?;
        for (user, name) in &fetched.kept {
            tracing::warn!(target: "py_func::server", "{user}/{name} was left as it is: there is another version");
        }
        let bundle = self.storage.is_shared().then_some(place);
        Ok(Choice::new(fetched.runtime.image, Some(fetched.runtime.sha256), bundle))
    }

    /// One on which nothing can be called is not taken.
    fn take(&self, content: &[u8], before: &Path) -> Result<Choice, Problem> {
        self.check_alone()?;
        if self.key.is_some() {
            let detail = "this server runs what is signed by the key that it was given, and what is sent has no signature";
            return Err(Problem::bad_request("bundle", detail)
                .hint("publish the bundle with its signature, and have the server fetch it"));
        }
        let like = Image::open(before).map_err(crate::Error::from)?;
        let check = |image: &Path| self.check(image);
        let stored = self.store.take_runtime(content, &like, self.builder.memory_limit, &check)?;
        Ok(Choice::new(stored.image, Some(stored.sha256), None))
    }

    /// Refuses what other servers could not have.
    fn check_alone(&self) -> Result<(), Problem> {
        if !self.storage.is_shared() {
            return Ok(());
        }
        let detail =
            "servers that share their functions are upgraded with bundles that all of them can fetch";
        Err(Problem::bad_request("bundle", detail)
            .hint("name one by its URL: s3://, gs://, az:// or https://"))
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

fn describe(runtime: &Runtime, stored: Option<StoredRuntime>) -> RuntimeDocument {
    let image = runtime.image_directory();
    let stored = stored.filter(|stored| stored.image == image);
    let bundle = std::fs::read(image.join(DIRECTORY).join("manifest.json")).ok();
    // An image that came in no bundle has none.
    let bundle = bundle.and_then(|text| serde_json::from_slice::<faasm_bundle::Manifest>(&text).ok());
    RuntimeDocument::new(runtime.manifest(), bundle.map(|it| it.version), stored)
}
