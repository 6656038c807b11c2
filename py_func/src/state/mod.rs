//! State: bytes that belong to a user and a key, shared by all functions of that user and kept between calls.
//!
//! There are two tiers, as in Faasm (Shillaker and Pietzuch, USENIX ATC 2020). The *local* tier is in this process and shared by
//! all functions that run in it; what one writes others see at once. The *global* tier, behind [`Global`], is shared by all hosts
//! and outlives them. Bytes move between the two only when asked to:
//!
//! ```text
//!             write, write_at                  push, push_partial
//! function ───────────────────▶ local tier ─────────────────────────▶ global tier
//!          ◀───────────────────            ◀─────────────────────────
//!                   read                     the first read, or pull
//! ```
//!
//! * A value has a size, which its first write fixes.
//! * Reading fetches what was not fetched before, and no more, in chunks of 64 KiB. What was fetched stays as it is, whatever
//!   other hosts push, until the value is pulled or evicted.
//! * What was written stays local until it is pushed, and is lost if the process ends before.
//! * Append logs are in the global tier alone. A value and a log of the same key have nothing to do with each other, except that
//!   both are deleted with the key.
//! * Locks are those of this process.
//!
//! None of the functions needs a certain async runtime. Dropping a future is safe at any time; a push that was cut off may or may
//! not have reached the global tier, and what it was to store counts as not pushed.

mod content;
mod dirty;
mod durable;
mod error;
mod global;
mod local;
mod lock;
mod memory;
mod on_demand;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::function::is_valid_name;
use content::Content;
pub use durable::Durable;
pub use error::Error;
pub use global::{BoxFuture, Change, Global, OVERHEAD};
use local::{Entry, Local};
pub use lock::{Lock, LockGuard};
pub use memory::Memory;
pub use on_demand::OnDemand;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 512;

/// The largest value, and the largest entry of an append log, in bytes.
pub const MAX_VALUE: u64 = 1 << 30;

type Result<T, E = Error> = std::result::Result<T, E>;

/// How much state may be held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What the global tier may hold for a user, in bytes, and what a user's values that were not pushed may add to that in the
    /// local tier. Each value counts for [`OVERHEAD`], the length of its key and its size; each entry of an append log for
    /// [`OVERHEAD`] and its length.
    pub user_quota: u64,
    /// How much memory the local tier aims to take, in bytes. Above it, values that nobody uses and the global tier has are
    /// dropped, those first that were not used for longest. What was not pushed is never dropped; it alone cannot exceed the
    /// limit.
    pub local: u64,
}

/// The state of all users. Cheap to clone.
///
/// Every method fails for a user whose name no function could have, for a key that is empty or longer than [`MAX_KEY`], and if
/// the global tier fails.
#[derive(Clone)]
pub struct State {
    local: Arc<Local>,
    global: Arc<dyn Global>,
    limits: Limits,
}

impl State {
    /// State with an empty local tier in front of `global`.
    pub fn new(global: Arc<dyn Global>, limits: Limits) -> Self {
        Self { local: Arc::new(Local::new(limits)), global, limits }
    }

    /// The size of a value in bytes, if there is one; that of the local tier if both have it.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub async fn size(&self, user: &str, key: &str) -> Result<Option<u64>> {
        let entry = self.entry(user, key)?;
        self.load(&entry).await?;
        Ok(entry.with(|slot| slot.content.as_ref().map(Content::size)))
    }

    /// Copies a value, from `offset` on, into `buffer`, and returns how many bytes that were: fewer than asked for if the value
    /// ends before, and none beyond its end. Fetches what is not here yet.
    ///
    /// # Errors
    ///
    /// When there is no such value, or another host shortened or deleted it before all of it was fetched.
    pub async fn read(&self, user: &str, key: &str, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let entry = self.entry(user, key)?;
        let range = offset..offset.saturating_add(buffer.len() as u64);
        loop {
            let read = entry.with(|slot| {
                let content = slot.content.as_ref()?;
                content.missing(range.clone()).is_none().then(|| content.read(offset, buffer))
            });
            if let Some(length) = read {
                return Ok(length);
            }
            let _transfer = entry.value.transfer.lock().await;
            self.load_in_transfer(&entry).await?;
            let missing = entry.with(|slot| {
                let content = slot.content.as_ref().ok_or_else(|| entry.no_value())?;
                Ok(content.missing(range.clone()))
            })?;
            // Another call may just have fetched it.
            let Some(missing) = missing else { continue };
            let fetched = self.global.read(user, key, missing.clone()).await?.unwrap_or_default();
            if (fetched.len() as u64) < missing.end - missing.start {
                return Err(Error::Changed { user: user.to_owned(), key: key.to_owned() });
            }
            entry.with(|slot| {
                if let Some(content) = &mut slot.content {
                    content.fill(missing.start, &fetched);
                }
            });
        }
    }

    /// Writes a whole value, locally.
    ///
    /// # Errors
    ///
    /// When there is one of another size, it is larger than [`MAX_VALUE`], or unpushed values would exceed a limit.
    pub async fn write(&self, user: &str, key: &str, data: &[u8]) -> Result<()> {
        let entry = self.entry(user, key)?;
        let given = data.len() as u64;
        entry.check_size(given)?;
        self.load(&entry).await?;
        let new = Content::written(data);
        entry.with(|slot| {
            if let Some(size) = slot.content.as_ref().map(Content::size).filter(|&size| size != given) {
                return Err(entry.size_fixed(size, given));
            }
            entry.charge(slot, given)?;
            match &mut slot.content {
                Some(content) => content.replace(new),
                none => *none = Some(new),
            }
            Ok(())
        })
    }

    /// Writes a part of a value, locally. If there is no such value and `total` says what its size is to be, it is created, with
    /// zeros around the part.
    ///
    /// # Errors
    ///
    /// When there is none and no `total`, there is one of another size than `total`, the part reaches beyond the end, the value
    /// is larger than [`MAX_VALUE`], or unpushed values would exceed a limit.
    pub async fn write_at(
        &self,
        user: &str,
        key: &str,
        offset: u64,
        data: &[u8],
        total: Option<u64>,
    ) -> Result<()> {
        let entry = self.entry(user, key)?;
        entry.check_size(total.unwrap_or(0))?;
        self.load(&entry).await?;
        entry.with(|slot| {
            let size = match (slot.content.as_ref().map(Content::size), total) {
                (None, None) => return Err(entry.no_value()),
                (Some(size), Some(total)) if size != total => return Err(entry.size_fixed(size, total)),
                (Some(size), _) | (None, Some(size)) => size,
            };
            let length = data.len() as u64;
            if offset.checked_add(length).is_none_or(|end| end > size) {
                let (user, key) = (user.to_owned(), key.to_owned());
                return Err(Error::OutOfRange { user, key, offset, length, size });
            }
            entry.charge(slot, size)?;
            slot.content.get_or_insert_with(|| Content::new(size)).write(offset, data);
            // Nothing was written if the part is empty.
            entry.discharge(slot);
            Ok(())
        })
    }

    /// Gives a value another size, locally; what it grows by is zero. The global tier learns of it with the next push of either
    /// kind.
    ///
    /// # Errors
    ///
    /// When there is no such value, the size is more than [`MAX_VALUE`], or unpushed values would exceed a limit.
    pub async fn resize(&self, user: &str, key: &str, size: u64) -> Result<()> {
        let entry = self.entry(user, key)?;
        entry.check_size(size)?;
        let _transfer = entry.value.transfer.lock().await;
        self.load_in_transfer(&entry).await?;
        entry.with(|slot| {
            if slot.content.is_none() {
                return Err(entry.no_value());
            }
            entry.charge(slot, size)?;
            if let Some(content) = &mut slot.content {
                content.resize(size);
            }
            entry.discharge(slot);
            Ok(())
        })
    }

    /// Stores a value in the global tier, whole as far as it is here, also where it was only read. Nothing happens if nothing was
    /// written since the last push. What other calls write in the meantime may or may not be stored, and is pushed by the next
    /// push.
    ///
    /// # Errors
    ///
    /// When there is no such value, or the global tier would hold more than the user's quota.
    pub async fn push(&self, user: &str, key: &str) -> Result<()> {
        self.store(&self.entry(user, key)?, true).await
    }

    /// Stores what was written of a value since the last push in the global tier, byte by byte, so that what other hosts push of
    /// the rest is kept. The size is stored as well.
    ///
    /// # Errors
    ///
    /// As for [`State::push`].
    pub async fn push_partial(&self, user: &str, key: &str) -> Result<()> {
        self.store(&self.entry(user, key)?, false).await
    }

    /// Stores a value in both tiers, whatever there was of it and of which size. If it cannot be stored in the global tier, the local
    /// one does not keep it either.
    ///
    /// # Errors
    ///
    /// When it is larger than [`MAX_VALUE`], unpushed values would exceed a limit, the global tier would hold more than the user's
    /// quota, or somebody else changes the size of the value at the same time.
    pub async fn replace(&self, user: &str, key: &str, data: &[u8]) -> Result<()> {
        let (before, size) = (self.size(user, key).await?, data.len() as u64);
        if before.is_some_and(|before| before != size) {
            self.resize(user, key, size).await?;
        }
        self.write(user, key, data).await?;
        let pushed = self.push(user, key).await;
        if pushed.is_err() {
            // If this fails as well there is nothing more to be done, and the first error is the one that says why.
            let _ = match before {
                Some(_) => self.pull(user, key).await,
                None => self.delete(user, key).await,
            };
        }
        pushed
    }

    /// Forgets what the local tier has of a value, so that it is fetched anew. As in Faasm the global value wins: what was
    /// written and not pushed is lost. A value that never was in the global tier stays as it is.
    ///
    /// # Errors
    ///
    /// When there is no such value, perhaps since another host deleted it.
    pub async fn pull(&self, user: &str, key: &str) -> Result<()> {
        let entry = self.entry(user, key)?;
        let _transfer = entry.value.transfer.lock().await;
        let size = self.global.size(user, key).await?;
        entry.with(|slot| {
            let only_here = |content: &Content| !content.is_known();
            if size.is_none() && slot.content.as_ref().is_some_and(only_here) {
                return Ok(());
            }
            slot.content = size.map(Content::global);
            entry.discharge(slot);
            size.map(drop).ok_or_else(|| entry.no_value())
        })
    }

    /// Deletes the value and the append log of a key, in both tiers, if there are any.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub async fn delete(&self, user: &str, key: &str) -> Result<()> {
        let entry = self.entry(user, key)?;
        let _transfer = entry.value.transfer.lock().await;
        self.global.delete(user, key).await?;
        entry.with(|slot| {
            slot.content = None;
            entry.discharge(slot);
        });
        Ok(())
    }

    /// Adds an entry to an append log. Appends of all hosts are kept, in one order.
    ///
    /// # Errors
    ///
    /// When the entry is larger than [`MAX_VALUE`], or the global tier would hold more than the user's quota.
    pub async fn append(&self, user: &str, key: &str, data: impl Into<Bytes>) -> Result<()> {
        let data = data.into();
        let entry = self.entry(user, key)?;
        entry.check_size(data.len() as u64)?;
        self.global.append(user, key, data, self.limits.user_quota).await
    }

    /// The entries of an append log, oldest first: the first `count`, or all.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub async fn appended(&self, user: &str, key: &str, count: Option<usize>) -> Result<Vec<Vec<u8>>> {
        check_names(user, key)?;
        self.global.appended(user, key, count.unwrap_or(usize::MAX)).await
    }

    /// Removes all entries of an append log.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub async fn clear_appended(&self, user: &str, key: &str) -> Result<()> {
        check_names(user, key)?;
        self.global.clear_appended(user, key).await
    }

    /// Waits for a lock on a key and takes it. Locks are given in the order in which they were asked for. They do not keep
    /// anybody from reading and writing who does not ask for one. Who waits for a lock while holding one on the same key waits
    /// for ever, unless both are shared and nobody waits for an exclusive one between.
    ///
    /// # Errors
    ///
    /// Those of every method, except that the global tier is not asked.
    pub async fn lock(&self, user: &str, key: &str, kind: Lock) -> Result<LockGuard> {
        let value = self.entry(user, key)?.value;
        Ok(lock::take(value, kind).await)
    }

    /// The keys of a user for which there is a value in either tier or an append log, sorted.
    ///
    /// # Errors
    ///
    /// Those of every method.
    pub async fn keys(&self, user: &str) -> Result<Vec<String>> {
        check_user(user)?;
        let mut keys: BTreeSet<_> = self.global.keys(user).await?.into_iter().collect();
        keys.extend(self.local.keys(user));
        Ok(keys.into_iter().collect())
    }

    /// The memory that the local tier holds, in bytes.
    pub fn local_bytes(&self) -> u64 {
        self.local.held()
    }

    /// Drops values from the local tier that nobody uses and the global tier has, until it holds `target` bytes or there are no
    /// more. Happens by itself when [`Limits::local`] is exceeded.
    pub fn evict(&self, target: u64) {
        self.local.evict(target);
    }

    fn entry<'a>(&'a self, user: &'a str, key: &'a str) -> Result<Entry<'a>> {
        check_names(user, key)?;
        Ok(self.local.entry(user, key))
    }

    /// Sees to it that the slot is filled if there is such a value.
    async fn load(&self, entry: &Entry<'_>) -> Result<()> {
        if entry.with(|slot| slot.content.is_some()) {
            return Ok(());
        }
        let _transfer = entry.value.transfer.lock().await;
        self.load_in_transfer(entry).await
    }

    async fn load_in_transfer(&self, entry: &Entry<'_>) -> Result<()> {
        if entry.with(|slot| slot.content.is_none())
            && let Some(size) = self.global.size(entry.name, entry.key).await?
        {
            entry.with(|slot| slot.content.get_or_insert_with(|| Content::global(size)).size());
        }
        Ok(())
    }

    async fn store(&self, entry: &Entry<'_>, all: bool) -> Result<()> {
        let _transfer = entry.value.transfer.lock().await;
        self.load_in_transfer(entry).await?;
        let mut from = Some(0);
        while let Some(first) = from {
            let begun = entry.with(|slot| {
                let content = slot.content.as_mut().ok_or_else(|| entry.no_value())?;
                Ok(content.is_dirty().then(|| content.begin_push(first, all)))
            })?;
            let Some((change, next)) = begun else { break };
            let mut push = Push { entry, stored: false };
            self.global.write(entry.name, entry.key, change, self.limits.user_quota).await?;
            push.stored = true;
            from = next;
        }
        Ok(())
    }
}

/// A push under way. Dropping it, also when the future that pushes is dropped, ends the push.
struct Push<'a> {
    entry: &'a Entry<'a>,
    stored: bool,
}

impl Drop for Push<'_> {
    fn drop(&mut self) {
        self.entry.with(|slot| {
            if let Some(content) = &mut slot.content {
                content.end_push(self.stored);
            }
            self.entry.discharge(slot);
        });
    }
}

fn check_user(user: &str) -> Result<()> {
    if is_valid_name(user) { Ok(()) } else { Err(Error::User { name: user.to_owned() }) }
}

fn check_names(user: &str, key: &str) -> Result<()> {
    check_user(user)?;
    let length = key.len();
    if (1..=MAX_KEY).contains(&length) { Ok(()) } else { Err(Error::Key { length }) }
}

/// Nothing that is done with one of these mutexes locked leaves its content half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
