//! The local tier: which values there are, what they take, and which of them can go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::RwLock;

use super::content::Content;
use super::global::{OVERHEAD, value_cost};
use super::{Error, Limits, MAX_VALUE, locked};

/// The local tier of a process.
pub(super) struct Local {
    users: Mutex<HashMap<String, Arc<User>>>,
    limits: Limits,
    /// What the unpushed values of all users count for.
    unpushed: Budget,
    /// The memory that is held, in bytes.
    held: AtomicU64,
    /// Eviction is tried when more than this is held. Above the limit while there is nothing to evict, so that not every
    /// operation looks through all values in vain.
    evict_above: AtomicU64,
    /// Counts uses of values, to tell which was used last.
    uses: AtomicU64,
}

struct User {
    unpushed: Budget,
    values: Mutex<HashMap<String, Arc<Value>>>,
}

/// What belongs to a key. It stays the same as long as anybody holds it, also when the value is deleted.
pub(super) struct Value {
    pub(super) slot: Mutex<Slot>,
    /// Held while bytes move between the tiers, or the size changes. Taken before `slot`, which is never held while waiting.
    pub(super) transfer: tokio::sync::Mutex<()>,
    /// The lock that guests take.
    pub(super) lock: Arc<RwLock<()>>,
    last_use: AtomicU64,
}

/// The content, if it is here.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) content: Option<Content>,
    /// What it counts for in the budgets of unpushed values.
    charged: u64,
}

/// A value in use.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) key: &'a str,
    pub(super) value: Arc<Value>,
    user: Arc<User>,
    local: &'a Local,
}

impl Local {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            users: Mutex::default(),
            limits,
            unpushed: Budget::new(limits.local),
            held: AtomicU64::new(0),
            evict_above: AtomicU64::new(limits.local),
            uses: AtomicU64::new(0),
        }
    }

    /// What belongs to a key.
    pub(super) fn entry<'a>(&'a self, name: &'a str, key: &'a str) -> Entry<'a> {
        let user = get_or_insert(&self.users, name, || User {
            unpushed: Budget::new(self.limits.user_quota),
            values: Mutex::default(),
        });
        let value = get_or_insert(&user.values, key, || {
            self.held.fetch_add(entry_cost(key), Ordering::Relaxed);
            Value {
                slot: Mutex::default(),
                transfer: tokio::sync::Mutex::default(),
                lock: Arc::default(),
                last_use: AtomicU64::new(0),
            }
        });
        value.last_use.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let entry = Entry { name, key, value, user, local: self };
        self.evict_if_full();
        entry
    }

    /// The keys of the values that are here.
    pub(super) fn keys(&self, name: &str) -> Vec<String> {
        let Some(user) = locked(&self.users).get(name).map(Arc::clone) else { return Vec::new() };
        let values = locked(&user.values);
        let here = values.iter().filter(|(_, value)| locked(&value.slot).content.is_some());
        here.map(|(key, _)| key.clone()).collect()
    }

    /// The memory that is held, in bytes.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    fn evict_if_full(&self) {
        if self.held() > self.evict_above.load(Ordering::Relaxed) {
            // Some room below the limit keeps the next operations from looking again.
            self.evict(self.limits.local / 8 * 7);
            let above = (self.held() + self.limits.local / 8).max(self.limits.local);
            self.evict_above.store(above, Ordering::Relaxed);
        }
    }

    /// Drops what nobody uses and the global tier has, until `target` bytes are held; what was not used for longest goes first.
    pub(super) fn evict(&self, target: u64) {
        let users: Vec<_> = locked(&self.users).values().map(Arc::clone).collect();
        let mut candidates = Vec::new();
        for user in &users {
            for (key, value) in locked(&user.values).iter() {
                if value.is_unused() {
                    candidates.push((value.last_use.load(Ordering::Relaxed), user, key.clone()));
                }
            }
        }
        candidates.sort_unstable_by_key(|&(last_use, ..)| last_use);
        for (_, user, key) in candidates {
            if self.held() <= target {
                break;
            }
            let mut values = locked(&user.values);
            // It may have come into use since.
            if values.get(&key).is_some_and(Value::is_unused) {
                let held = values.remove(&key).map_or(0, |value| locked(&value.slot).held());
                self.held.fetch_sub(held + entry_cost(&key), Ordering::Relaxed);
            }
        }
        drop(users);
        locked(&self.users).retain(|_, user| Arc::strong_count(user) > 1 || !locked(&user.values).is_empty());
    }
}

impl Entry<'_> {
    /// Does something with the slot, and counts what it takes afterwards.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Slot) -> T) -> T {
        let result = {
            let mut slot = locked(&self.value.slot);
            let before = slot.held();
            let result = work(&mut slot);
            let after = slot.held();
            // Wraps around when it shrank, as it should.
            self.local.held.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            result
        };
        self.local.evict_if_full();
        result
    }

    /// Counts an unpushed value of `size` bytes in the budgets, in place of what the slot counted for.
    pub(super) fn charge(&self, slot: &mut Slot, size: u64) -> Result<(), Error> {
        let cost = value_cost(self.key, size);
        let (old, quota) = (slot.charged, self.local.limits.user_quota);
        self.user.unpushed.replace(old, cost).map_err(|needed| Error::Quota {
            user: self.name.to_owned(),
            quota,
            needed,
        })?;
        if self.local.unpushed.replace(old, cost).is_err() {
            self.user.unpushed.give_back(cost - old);
            return Err(Error::LocalFull { user: self.name.to_owned(), limit: self.local.limits.local });
        }
        slot.charged = cost;
        Ok(())
    }

    /// Counts the value no longer if nothing of it is unpushed.
    pub(super) fn discharge(&self, slot: &mut Slot) {
        if slot.content.as_ref().is_none_or(|content| !content.is_dirty()) {
            self.user.unpushed.give_back(slot.charged);
            self.local.unpushed.give_back(slot.charged);
            slot.charged = 0;
        }
    }

    pub(super) fn check_size(&self, size: u64) -> Result<(), Error> {
        if size > MAX_VALUE {
            return Err(Error::TooLarge { user: self.name.to_owned(), key: self.key.to_owned(), size });
        }
        Ok(())
    }

    pub(super) fn no_value(&self) -> Error {
        Error::NoValue { user: self.name.to_owned(), key: self.key.to_owned() }
    }

    pub(super) fn size_fixed(&self, size: u64, given: u64) -> Error {
        Error::SizeFixed { user: self.name.to_owned(), key: self.key.to_owned(), size, given }
    }
}

impl Slot {
    fn held(&self) -> u64 {
        self.content.as_ref().map_or(0, Content::held)
    }
}

impl Value {
    /// Whether only the local tier's own table refers to it and dropping it would lose nothing. To be asked with the table
    /// locked.
    fn is_unused(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
            && locked(&self.slot).content.as_ref().is_none_or(|content| !content.is_dirty())
    }
}

/// What there is under a name, which is copied only if there is nothing yet.
fn get_or_insert<T>(map: &Mutex<HashMap<String, Arc<T>>>, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut map = locked(map);
    if let Some(found) = map.get(name) {
        return Arc::clone(found);
    }
    let made = Arc::new(make());
    map.insert(name.to_owned(), Arc::clone(&made));
    made
}

/// What an empty entry of the table takes, roughly.
fn entry_cost(key: &str) -> u64 {
    2 * OVERHEAD + key.len() as u64
}

/// A sum that must not exceed a limit.
struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    /// Counts `new` in place of `old`. If that is more, and too much, nothing changes, and the error is what the sum would be.
    fn replace(&self, old: u64, new: u64) -> Result<(), u64> {
        let change = |used: u64| {
            let next = used - old + new;
            (new <= old || next <= self.limit).then_some(next)
        };
        let changed = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        changed.map(drop).map_err(|used| used - old + new)
    }

    fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}
