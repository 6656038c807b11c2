//! Locks on keys, which guests take to agree on who may change a value.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard};

use super::local::Value;

/// What a lock permits besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Other shared locks.
    Shared,
    /// No other lock.
    Exclusive,
}

/// A lock on a key, until it is dropped.
#[must_use = "dropping it gives the lock back"]
pub struct LockGuard {
    _lock: Held,
    // Keeps the value, and so its lock, from being evicted and made anew.
    _value: Arc<Value>,
}

#[expect(dead_code, reason = "dropping them gives the lock back")]
enum Held {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

/// Waits for the lock of a value.
pub(super) async fn take(value: Arc<Value>, kind: Lock) -> LockGuard {
    let lock = Arc::clone(&value.lock);
    let held = match kind {
        Lock::Shared => Held::Shared(lock.read_owned().await),
        Lock::Exclusive => Held::Exclusive(lock.write_owned().await),
    };
    LockGuard { _lock: held, _value: value }
}
