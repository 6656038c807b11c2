//! Functions in a bucket of an object store, which several servers share.
//!
//! ```text
//! functions/<user>/<function>/meta.json                     what is stored, and which objects are the sources of its versions
//! functions/<user>/<function>/function-<hash>-<number>.py   a source; `.zip`, `.tar` or `.tar.gz` if it is a package
//! runtime.json                                              the bundle with the runtime
//! flushed                                                   another content each time that all servers are to forget what they know
//! ```
//!
//! As in a directory, `meta.json` makes an upload count, and names a source that is there by then. It is replaced only if it is the one
//! that was read before, so that of two uploads at a time one comes after the other. Each upload has a source of its own, which goes when
//! that version is kept no more; who wants to read it just then finds out what is there instead.
//!
//! An upload that is cut off leaves at most a source that nothing names. Such leftovers are removed when their function is stored the next
//! time, or functions are listed, once they are a day older than the newest object that was listed with them, by the store's own clock. Until
//! then somebody may be about to name them. After an hour nobody does any more: who has not come so far gives up, and stores refuse
//! requests that were signed minutes ago. What nothing names never comes to be named again, since each upload has a source of its own.
//!
//! What is known of a function is believed for a second. Who needs it after that asks whether it is still the same, which takes one
//! request and no transfer. When the bucket does not answer, what was known goes on to be believed, and nobody waits for it any more, until
//! it answers again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use faasm_bundle::{Listed, Location, Object, Objects, Tag};

use super::storage::{ChosenBundle, Storage};
use super::{
    META, MODULE, Meta, RUNTIME, RegistryError, Result, StoredFunction, VERSION_DIGITS, VERSIONS, Version,
    check_function_name, hash, now, time,
};
use crate::package;

/// How long what is known is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long a call waits to learn whether its function is still the same.
const IMPATIENT: Duration = Duration::from_secs(1);

/// How long others wait for an answer: who needs to know something, and who moves a source.
const PATIENT: Duration = Duration::from_secs(10);
const TRANSFER: Duration = Duration::from_secs(300);

/// How long an upload may take, from when its source is sent.
const UPLOAD: Duration = Duration::from_secs(3600);

/// How old a source is that nothing names and nobody is about to name.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// How large descriptions may be, in bytes.
const META_LIMIT: u64 = 1 << 20;

/// How often something is tried that others get in the way of.
const ATTEMPTS: u32 = 20;

/// How many descriptions are read at a time.
const READERS: usize = 8;

/// What sources may take in memory, in bytes.
const SOURCES: usize = 64 << 20;

const FLUSHED: &str = "flushed";

/// Why a description could not be replaced.
const OUTRUN: &str = "others replace it all the time, or it took too long";

/// What names of sources begin with.
const SOURCE: &str = "function-";

/// A store of functions below a place in an object store. Any number of servers may use one at the same time. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    inner: Arc<Inner>,
    versions: NonZero<usize>,
}

struct Inner {
    objects: Objects,
    /// By user and name.
    known: RwLock<HashMap<String, HashMap<String, Known>>>,
    /// Of functions that are called by others, by hash: these are looked up in each such call.
    sources: Mutex<HashMap<String, Arc<Vec<u8>>>>,
    flushed: Mutex<Flushed>,
    flushes: AtomicU64,
    unreachable: AtomicBool,
    probing: AtomicBool,
}

/// What is known of a function.
#[derive(Clone)]
struct Known {
    meta: Meta,
    tag: Tag,
    /// When it was so.
    checked: Instant,
}

struct Flushed {
    tag: Option<Tag>,
    checked: Instant,
}

impl Bucket {
    /// The store below a place. Whether it can be read is found out.
    ///
    /// # Errors
    ///
    /// When the place is none in an object store, or cannot be read.
    pub fn open(place: &Location) -> Result<Self> {
        let objects = Objects::open(place)?;
        let checked = Instant::now();
        let tag = match objects.get(FLUSHED, None, META_LIMIT, PATIENT)? {
            Object::There { tag, .. } => Some(tag),
            _ => None,
        };
        let inner = Inner {
            objects,
            known: RwLock::default(),
            sources: Mutex::default(),
            flushed: Mutex::new(Flushed { tag, checked }),
            flushes: AtomicU64::new(0),
            unreachable: AtomicBool::new(false),
            probing: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner), versions: VERSIONS })
    }

    /// How many versions of each function are kept, the one that is called included. By default 10.
    pub fn keep_versions(mut self, count: NonZero<usize>) -> Self {
        self.versions = count;
        self
    }
}

impl Storage for Bucket {
    fn store(&self, user: &str, name: &str, source: &[u8]) -> Result<StoredFunction> {
        check_function_name(user, name)?;
        let inner = &self.inner;
        let sha256 = hash(source);
        let kind = package::archive_kind(source).unwrap_or(MODULE);
        let number = getrandom::u64().map_err(|error| inner.damaged(META, &error.to_string()))?;
        let file = format!("{SOURCE}{}-{number:016x}.{kind}", &sha256[..VERSION_DIGITS]);
        let version = Version { source: file, bytes: source.len() as u64, sha256, uploaded: now() };

        let begun = SystemTime::now();
        inner.objects.put(&object(user, name, &version.source), source.to_vec(), TRANSFER)?;
        let mut before = inner.known(user, name);
        for _ in 0..ATTEMPTS {
            // This machine may have slept, and others have taken the source for a leftover.
            if begun.elapsed().is_ok_and(|it| it > UPLOAD) {
                break;
            }
            let meta = Meta::after(before.as_ref().map(|it| it.meta.clone()), version.clone(), self.versions);
            let found = match inner.replace(user, name, meta, before.as_ref().map(|it| &it.tag))? {
                Some(known) => Some(known),
                // Somebody else was faster; or the answer to an earlier request was lost, and not what it asked for.
                None => inner.read(user, name, None, PATIENT)?,
            };
            if let Some(found) = found.clone().filter(|it| it.meta.current.source == version.source) {
                if let Some(before) = before {
                    inner.remove_gone(user, name, before.meta, &found.meta);
                }
                let kept: Vec<_> = found.meta.clone().into_versions().map(|it| it.source).collect();
                inner.learn(user, name, Some(found));
                inner.remove_leftovers_of(user, name, &kept);
                return Ok(version.into_function(user, name));
            }
            before = found;
        }
        inner.remove_source(user, name, &version);
        Err(inner.damaged(&object(user, name, META), OUTRUN))
    }

    fn function(&self, user: &str, name: &str) -> Result<StoredFunction> {
        Ok(self.inner.current(user, name)?.current.into_function(user, name))
    }

    fn source(&self, user: &str, name: &str) -> Result<(StoredFunction, Vec<u8>)> {
        self.inner.source(user, name, |meta| Ok(meta.current))
    }

    fn versions(&self, user: &str, name: &str) -> Result<Vec<StoredFunction>> {
        let versions = self.inner.current(user, name)?.into_versions();
        Ok(versions.map(|it| it.into_function(user, name)).collect())
    }

    fn source_of_version(&self, user: &str, name: &str, version: &str) -> Result<Vec<u8>> {
        Ok(self.inner.source(user, name, |meta| meta.version(user, name, version))?.1)
    }

    fn restore(&self, user: &str, name: &str, version: &str) -> Result<StoredFunction> {
        check_function_name(user, name)?;
        let inner = &self.inner;
        for _ in 0..ATTEMPTS {
            let before = inner.read(user, name, None, PATIENT)?.ok_or_else(|| missing(user, name))?;
            let kept_before = before.meta.clone();
            let meta = before.meta.restore(user, name, version, self.versions)?;
            // Somebody may have been faster, and then the version may be gone, or the function.
            if let Some(known) = inner.replace(user, name, meta, Some(&before.tag))? {
                let current = known.meta.current.clone();
                inner.remove_gone(user, name, kept_before, &known.meta);
                inner.learn(user, name, Some(known));
                return Ok(current.into_function(user, name));
            }
        }
        Err(inner.damaged(&object(user, name, META), OUTRUN))
    }

    fn remove(&self, user: &str, name: &str) -> Result<()> {
        check_function_name(user, name)?;
        let inner = &self.inner;
        let found = inner.read(user, name, None, PATIENT)?.ok_or_else(|| missing(user, name))?;
        inner.objects.remove(&object(user, name, META), PATIENT)?;
        inner.learn(user, name, None);
        for version in found.meta.into_versions() {
            inner.remove_source(user, name, &version);
        }
        Ok(())
    }

    fn functions(&self) -> Result<Vec<StoredFunction>> {
        let inner = &self.inner;
        let listed = inner.objects.list("functions", PATIENT)?;
        let mut metas = Vec::new();
        let mut unknown = Vec::new();
        for (object, found) in &listed {
            let Some((user, name, META)) = parts(object) else { continue };
            match inner.known(user, name).filter(|it| it.tag == found.tag) {
                Some(known) => metas.push((user.to_owned(), name.to_owned(), known.meta)),
                None => unknown.push((user, name)),
            }
        }
        let read = |ids: &[(&str, &str)]| -> Result<Vec<(String, String, Meta)>> {
            let mut found = Vec::new();
            for (user, name) in ids {
                let known = inner.read(user, name, None, PATIENT)?;
                // It may have been removed since.
                found.extend(known.clone().map(|it| ((*user).to_owned(), (*name).to_owned(), it.meta)));
                inner.learn(user, name, known);
            }
            Ok(found)
        };
        let answers: Vec<Result<_>> = thread::scope(|scope| {
            let part = unknown.len().div_ceil(READERS).max(1);
            let readers: Vec<_> = unknown.chunks(part).map(|ids| scope.spawn(|| read(ids))).collect();
            let panicked = || Err(inner.damaged("functions", "the host panicked"));
            readers.into_iter().map(|it| it.join().unwrap_or_else(|_| panicked())).collect()
        });
        for answer in answers {
            metas.extend(answer?);
        }
        let named = metas.iter().flat_map(|(user, name, meta)| {
            meta.clone().into_versions().map(|it| object(user, name, &it.source))
        });
        inner.remove_leftovers(&listed, &named.collect());
        let functions = metas.into_iter().map(|(user, name, meta)| meta.current.into_function(&user, &name));
        let mut functions: Vec<_> = functions.collect();
        functions.sort_by(|a, b| (&a.user, &a.name).cmp(&(&b.user, &b.name)));
        Ok(functions)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_current(&self, stored: &StoredFunction) -> bool {
        let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get(&stored.user).and_then(|it| it.get(&stored.name)) else { return false };
        let current = &known.meta.current;
        if current.sha256 != stored.sha256 || time(current.uploaded) != stored.uploaded {
            return false;
        }
        if known.checked.elapsed() < BELIEVED {
            return true;
        }
        let unreachable = self.inner.unreachable.load(Ordering::Relaxed);
        if unreachable {
            self.inner.probe();
        }
        unreachable
    }

    fn flush(&self) -> Result<()> {
        let number = now().to_string();
        let tag = self.inner.objects.put(FLUSHED, number.into_bytes(), PATIENT)?;
        let mut flushed = self.inner.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        // The one who flushes need not be told.
        *flushed = Flushed { tag: Some(tag), checked: Instant::now() };
        drop(flushed);
        self.inner.known.write().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    fn flushes(&self) -> u64 {
        self.inner.flushes.load(Ordering::Relaxed)
    }

    fn bundle(&self) -> Result<Option<ChosenBundle>> {
        let inner = &self.inner;
        let Object::There { content, .. } = inner.objects.get(RUNTIME, None, META_LIMIT, PATIENT)? else {
            return Ok(None);
        };
        serde_json::from_slice(&content).map(Some).map_err(|error| inner.damaged(RUNTIME, &error.to_string()))
    }

    fn choose_bundle(&self, chosen: Option<&ChosenBundle>) -> Result<()> {
        let inner = &self.inner;
        let Some(chosen) = chosen else { return Ok(inner.objects.remove(RUNTIME, PATIENT)?) };
        let text =
            serde_json::to_vec_pretty(chosen).map_err(|error| inner.damaged(RUNTIME, &error.to_string()))?;
        inner.objects.put(RUNTIME, text, PATIENT)?;
        Ok(())
    }
}

impl Inner {
    fn known(&self, user: &str, name: &str) -> Option<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(user)?.get(name).cloned()
    }

    /// Takes down what was found out, or forgets it.
    fn learn(&self, user: &str, name: &str, found: Option<Known>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match found {
            Some(found) => {
                let functions = known.entry(user.to_owned()).or_default();
                // Who asked earlier may be answered later.
                if functions.get(name).is_none_or(|it| it.checked <= found.checked) {
                    functions.insert(name.to_owned(), found);
                }
            }
            None => {
                if let Some(functions) = known.get_mut(user) {
                    functions.remove(name);
                    if functions.is_empty() {
                        known.remove(user);
                    }
                }
            }
        }
    }

    /// What is to be believed of a function now.
    fn current(&self, user: &str, name: &str) -> Result<Meta> {
        check_function_name(user, name)?;
        let known = self.known(user, name);
        if let Some(known) = &known
            && known.checked.elapsed() < BELIEVED
        {
            return Ok(known.meta.clone());
        }
        let patience = if known.is_some() { IMPATIENT } else { PATIENT };
        let found =
            self.check_flushed(patience).and_then(|()| self.read(user, name, known.as_ref(), patience));
        self.reached(found.as_ref().err());
        match (found, known) {
            (Ok(Some(found)), _) => {
                let meta = found.meta.clone();
                self.learn(user, name, Some(found));
                Ok(meta)
            }
            (Ok(None), _) => {
                self.learn(user, name, None);
                Err(missing(user, name))
            }
            (Err(_), Some(known)) => Ok(known.meta),
            (Err(error), None) => Err(error),
        }
    }

    /// The source of a version.
    fn source(
        &self,
        user: &str,
        name: &str,
        which: impl Fn(Meta) -> Result<Version>,
    ) -> Result<(StoredFunction, Vec<u8>)> {
        for _ in 0..ATTEMPTS {
            let version = which(self.current(user, name)?)?;
            let path = object(user, name, &version.source);
            let kept =
                self.sources.lock().unwrap_or_else(PoisonError::into_inner).get(&version.sha256).cloned();
            if let Some(source) = kept {
                return Ok((version.into_function(user, name), source.to_vec()));
            }
            match self.objects.get(&path, None, version.bytes, TRANSFER)? {
                Object::There { content, .. } if hash(&content) == version.sha256 => {
                    self.keep(&version.sha256, &content);
                    return Ok((version.into_function(user, name), content));
                }
                Object::There { .. } => return Err(self.damaged(&path, "it was changed after it was stored")),
                // It was replaced since its description was read.
                _ => self.learn(user, name, None),
            }
        }
        Err(self.damaged(&object(user, name, META), "the source that it names is not there"))
    }

    /// Reads a description, unless it is the one that is known.
    fn read(
        &self,
        user: &str,
        name: &str,
        known: Option<&Known>,
        patience: Duration,
    ) -> Result<Option<Known>> {
        let checked = Instant::now();
        let path = object(user, name, META);
        match (self.objects.get(&path, known.map(|it| &it.tag), META_LIMIT, patience)?, known) {
            (Object::There { content, tag }, _) => {
                let meta = serde_json::from_slice(&content);
                let meta = meta.map_err(|error| self.damaged(&path, &error.to_string()))?;
                Ok(Some(Known { meta, tag, checked }))
            }
            (Object::Same, Some(known)) => Ok(Some(Known { checked, ..known.clone() })),
            (Object::Missing | Object::Same, _) => Ok(None),
        }
    }

    /// Replaces a description, if it is still the one of that tag, or is not there if there is none.
    fn replace(&self, user: &str, name: &str, meta: Meta, tag: Option<&Tag>) -> Result<Option<Known>> {
        let path = object(user, name, META);
        let text =
            serde_json::to_vec_pretty(&meta).map_err(|error| self.damaged(&path, &error.to_string()))?;
        let tag = self.objects.replace(&path, text, tag, PATIENT)?;
        Ok(tag.map(|tag| Known { meta, tag, checked: Instant::now() }))
    }

    /// Removes the sources of versions that are not kept any more.
    fn remove_gone(&self, user: &str, name: &str, before: Meta, now: &Meta) {
        let kept: Vec<_> = now.earlier.iter().chain([&now.current]).map(|it| &it.source).collect();
        for gone in before.into_versions().filter(|it| !kept.contains(&&it.source)) {
            self.remove_source(user, name, &gone);
        }
    }

    /// Finds out whether another server has flushed the bucket, which is then forgotten.
    fn check_flushed(&self, patience: Duration) -> Result<()> {
        let known = {
            let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
            if flushed.checked.elapsed() < BELIEVED {
                return Ok(());
            }
            flushed.checked = Instant::now();
            flushed.tag.clone()
        };
        if let Object::There { tag, .. } = self.objects.get(FLUSHED, known.as_ref(), META_LIMIT, patience)? {
            self.flushed.lock().unwrap_or_else(PoisonError::into_inner).tag = Some(tag);
            self.flushes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes down whether the bucket answers, and says when that changes.
    fn reached(&self, error: Option<&RegistryError>) {
        let was_unreachable = self.unreachable.swap(error.is_some(), Ordering::Relaxed);
        match (was_unreachable, error) {
            (false, Some(error)) => {
                let place = self.objects.location("");
                tracing::warn!(
                    "failed to {error}; functions that are loaded are called as they are until {place} answers"
                );
            }
            (true, None) => tracing::info!("{} answers again", self.objects.location("")),
            _ => {}
        }
    }

    /// Asks in the background whether the bucket answers again, one question at a time.
    fn probe(self: &Arc<Self>) {
        if self.probing.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::clone(self);
        let probe = move || {
            let begun = Instant::now();
            let answer = inner.objects.get(RUNTIME, None, META_LIMIT, PATIENT);
            inner.reached(answer.map_err(RegistryError::from).err().as_ref());
            thread::sleep(BELIEVED.saturating_sub(begun.elapsed()));
            inner.probing.store(false, Ordering::Relaxed);
        };
        if thread::Builder::new().name("faasm-probe".to_owned()).spawn(probe).is_err() {
            self.probing.store(false, Ordering::Relaxed);
        }
    }

    /// Keeps a source in memory.
    fn keep(&self, sha256: &str, source: &[u8]) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.values().map(|it| it.len()).sum::<usize>() + source.len() > SOURCES {
            sources.clear();
        }
        if source.len() <= SOURCES {
            sources.insert(sha256.to_owned(), Arc::new(source.to_vec()));
        }
    }

    /// Removes a source that nothing names any more. If that does not work, it is in nobody's way.
    fn remove_source(&self, user: &str, name: &str, version: &Version) {
        if let Err(error) = self.objects.remove(&object(user, name, &version.source), PATIENT) {
            tracing::warn!("failed to {error}; nothing needs it");
        }
    }

    /// Removes leftovers of a function whose versions have the sources `kept`. If that does not work, they are in nobody's way.
    fn remove_leftovers_of(&self, user: &str, name: &str, kept: &[String]) {
        match self.objects.list(object(user, name, "").trim_end_matches('/'), PATIENT) {
            Ok(listed) => {
                let named = kept.iter().map(|it| object(user, name, it));
                self.remove_leftovers(&listed, &named.collect());
            }
            Err(error) => tracing::warn!("failed to {error}; there may be sources that nothing needs"),
        }
    }

    /// Removes sources that are not `named`, and so old that nobody is about to name them.
    fn remove_leftovers(&self, listed: &BTreeMap<String, Listed>, named: &HashSet<String>) {
        let Some(newest) = listed.values().map(|it| it.modified).max() else { return };
        for (object, found) in listed {
            let is_source = parts(object).is_some_and(|(_, _, file)| file.starts_with(SOURCE));
            let is_old = newest.duration_since(found.modified).is_ok_and(|it| it > LEFT);
            if !is_source || !is_old || named.contains(object) {
                continue;
            }
            if let Err(error) = self.objects.remove(object, PATIENT) {
                tracing::warn!("failed to {error}; nothing needs it");
                return;
            }
            tracing::info!(
                "removed {}, which an upload that was cut off had left",
                self.objects.location(object)
            );
        }
    }

    fn damaged(&self, name: &str, reason: &str) -> RegistryError {
        let path = self.objects.location(name).to_string().into();
        RegistryError::Damaged { path, reason: reason.to_owned() }
    }
}

/// The name of an object of a function.
fn object(user: &str, name: &str, file: &str) -> String {
    format!("functions/{user}/{name}/{file}")
}

/// The same, the other way round: user, function and file of an object, if it is one of a function.
fn parts(object: &str) -> Option<(&str, &str, &str)> {
    let mut parts = object.strip_prefix("functions/")?.split('/');
    let (user, name, file) = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && check_function_name(user, name).is_ok()).then_some((user, name, file))
}

fn missing(user: &str, name: &str) -> RegistryError {
    RegistryError::NoFunction { user: user.to_owned(), name: name.to_owned() }
}
