//! How much of requests and results is held in memory at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that can be reserved.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

/// Bytes that are reserved until this is dropped.
#[derive(Debug)]
pub(super) struct Reserved {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// How many bytes are reserved.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether nothing more can be reserved.
    pub(super) fn is_full(&self) -> bool {
        self.taken() >= self.limit
    }

    /// A reservation that has nothing yet.
    pub(super) fn empty(&self) -> Reserved {
        Reserved { taken: Arc::clone(&self.taken), bytes: 0 }
    }

    /// Adds to a reservation, unless that would exceed the limit.
    pub(super) fn extend(&self, reserved: &mut Reserved, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        reserved.bytes += bytes;
        true
    }

    /// Reserves what is there already and cannot be refused any more.
    pub(super) fn account(&self, bytes: usize) -> Reserved {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Reserved { taken: Arc::clone(&self.taken), bytes }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_comes_back() {
        let budget = Budget::new(10);
        let mut first = budget.empty();
        assert!(budget.extend(&mut first, 6));
        assert!(!budget.extend(&mut first, 5));
        let over = budget.account(20);
        assert!(!budget.extend(&mut first, 1));
        assert_eq!(budget.taken(), 26);
        assert!(budget.is_full());
        drop(over);
        assert!(!budget.is_full());
        assert!(budget.extend(&mut first, 4));
        drop(first);
        assert_eq!(budget.taken(), 0);
    }
}
