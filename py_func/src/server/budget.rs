//! How much of requests and results is held in memory at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::{Account, CallFailure, Output};

/// What is no larger than this, in bytes, does not count: there are limits on how many requests and calls there are.
const SMALL: usize = 64 << 10;

/// The same while a chained call runs. There may be as many as calls; of what is left of them, which may be a thousand times as many,
/// everything counts.
const SMALL_IF_CHAINED: usize = 4 << 10;

/// What something of so many bytes counts for.
pub(super) fn counted(bytes: usize) -> usize {
    if bytes > SMALL { bytes } else { 0 }
}

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
        if bytes == 0 {
            return true;
        }
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        reserved.bytes += bytes;
        true
    }
}

impl Reserved {
    /// Gives so many bytes back.
    pub(super) fn shrink(&mut self, bytes: usize) {
        self.set(self.bytes.saturating_sub(bytes));
    }

    /// Reserves so many bytes, whether or not there is room.
    fn set(&mut self, bytes: usize) {
        // Never both, which others would find no room in.
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.taken.fetch_add(more, Ordering::Relaxed),
            None => self.taken.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What is held for a call: its input, until the guest has taken it, what it puts out, and in the end its result.
pub(super) struct Held {
    budget: Budget,
    /// What is no larger does not count.
    small: usize,
    state: Mutex<State>,
}

struct State {
    reserved: Reserved,
    /// Whether the call is over. One that was cancelled may still run for a moment, and what it has then is none of its result.
    ended: bool,
}

impl Held {
    /// For a call whose input is reserved.
    pub(super) fn new(budget: &Budget, input: Reserved) -> Arc<Self> {
        let state = Mutex::new(State { reserved: input, ended: false });
        Arc::new(Self { budget: budget.clone(), small: SMALL, state })
    }

    /// The call is over, and its output is all that is left.
    pub(super) fn keep_output(&self, result: &Result<Output, CallFailure>) {
        self.keep(result.as_ref().map_or(0, |it| counted(it.output.len())));
    }

    /// So many bytes of what is left are gone.
    pub(super) fn shrink(&self, bytes: usize) {
        self.lock().reserved.shrink(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account for Held {
    fn resize(&self, before: usize, after: usize) -> bool {
        let [before, after] = [before, after].map(|bytes| if bytes > self.small { bytes } else { 0 });
        if before == after {
            return true;
        }
        let mut state = self.lock();
        if state.ended {
            return after < before;
        }
        if after > before {
            return self.budget.extend(&mut state.reserved, after - before);
        }
        state.reserved.shrink(before - after);
        true
    }

    fn of_chained(&self) -> Arc<dyn Account> {
        let state = Mutex::new(State { reserved: self.budget.empty(), ended: false });
        Arc::new(Self { budget: self.budget.clone(), small: SMALL_IF_CHAINED, state })
    }

    fn keep(&self, bytes: usize) {
        let mut state = self.lock();
        state.ended = true;
        state.reserved.set(bytes);
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
        let mut over = budget.empty();
        over.set(20);
        assert!(!budget.extend(&mut first, 1));
        assert!(budget.extend(&mut first, 0), "nothing is never too much");
        assert_eq!(budget.taken(), 26);
        assert!(budget.is_full());
        drop(over);
        assert!(!budget.is_full());
        assert!(budget.extend(&mut first, 4));
        first.shrink(3);
        assert_eq!(budget.taken(), 7);
        drop(first);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn calls_count_what_is_large() {
        const MIB: usize = 1 << 20;
        let budget = Budget::new(10 * MIB);
        let mut input = budget.empty();
        assert!(budget.extend(&mut input, 6 * MIB));
        let held = Held::new(&budget, input);
        for (before, after, fits, taken) in [
            (0, SMALL, true, 6 * MIB),
            (SMALL, 5 * MIB, false, 6 * MIB),
            (SMALL, 4 * MIB, true, 10 * MIB),
            (0, SMALL, true, 10 * MIB),
            // The input is taken, and there is room for the rest.
            (6 * MIB, 0, true, 4 * MIB),
            (4 * MIB, 9 * MIB, true, 9 * MIB),
            (9 * MIB, SMALL, true, 0),
        ] {
            assert_eq!((held.resize(before, after), budget.taken()), (fits, taken), "{before} {after}");
        }
        held.keep(20 * MIB);
        assert!(budget.is_full());
        // What goes on after the end counts neither way.
        assert!(!held.resize(0, MIB) && held.resize(5 * MIB, 0));
        assert_eq!(budget.taken(), 20 * MIB);
        held.shrink(15 * MIB);
        assert_eq!(budget.taken(), 5 * MIB);
        // Those that it makes go on when it has ended, and all that is left of them counts.
        let chained = held.of_chained();
        assert!(chained.resize(0, 7) && chained.resize(0, SMALL) && chained.resize(SMALL, 4 * MIB));
        assert!(!chained.resize(0, 2 * MIB));
        assert_eq!(budget.taken(), 9 * MIB);
        chained.keep(3);
        assert_eq!(budget.taken(), 5 * MIB + 3);
        drop(chained);
        drop(held);
        assert_eq!(budget.taken(), 0);
    }
}
