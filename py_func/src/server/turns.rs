//! Turns: of those who change the same value, one after the other.

use std::hash::{BuildHasher as _, RandomState};

use tokio::sync::Mutex;

/// A fixed number of locks, which keys are spread over.
pub(super) struct Turns {
    locks: [Mutex<()>; 64],
    hasher: RandomState,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { locks: [const { Mutex::const_new(()) }; 64], hasher: RandomState::new() }
    }

    /// The lock of a key, which it may share with others.
    pub(super) fn of(&self, user: &str, key: &str) -> &Mutex<()> {
        let index = self.hasher.hash_one((user, key)) as usize % self.locks.len();
        &self.locks[index]
    }
}
