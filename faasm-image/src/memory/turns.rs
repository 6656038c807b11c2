//! Whose turn it is to use a guest's memory: its own code's, or the host's.
//!
//! A guest is stopped by making its memory inaccessible. Compiled code traps then; a function of the host would end the process. So the
//! host says when it begins and ends to use the memory, and the memory is only taken away when it is not the host's turn.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering},
};

/// Whose turn it is.
pub(super) struct Turns {
    state: AtomicU8,
    /// Held by those who change or use the memory without having a turn.
    others: Mutex<()>,
}

/// The guest does not run. The host may use its memory.
const HOST: u8 = 0;
/// Compiled code runs, and nobody else uses the memory.
const GUEST: u8 = 1;
/// The guest does not run, and never will again. The host may use its memory.
const STOPPED: u8 = 2;
/// The memory was taken away from running code, or is about to be.
const TAKEN: u8 = 3;

/// The guest was stopped.
#[derive(Debug, thiserror::Error)]
#[error("the guest was stopped")]
pub(crate) struct Stopped;

impl Turns {
    pub(super) fn new() -> Turns {
        Turns { state: AtomicU8::new(HOST), others: Mutex::new(()) }
    }

    /// To be called when compiled code is about to run, or to go on.
    pub(super) fn enter(&self) -> Result<(), Stopped> {
        let entered = self.state.compare_exchange(HOST, GUEST, Ordering::AcqRel, Ordering::Acquire);
        entered.map(|_| ()).map_err(|_| Stopped)
    }

    /// To be called when compiled code does not run any more, before the host uses the memory. If it was taken away, has
    /// `give_back` make it accessible again.
    pub(super) fn leave(&self, give_back: impl FnOnce() -> bool) -> Result<(), Stopped> {
        match self.state.compare_exchange(GUEST, HOST, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(HOST) => Ok(()),
            Err(TAKEN) => {
                // Whoever takes it has the lock until it is done.
                let _others = self.others();
                if give_back() {
                    self.state.store(STOPPED, Ordering::Release);
                }
                Err(Stopped)
            }
            Err(_) => Err(Stopped),
        }
    }

    /// Lets the guest not run any more. If it is running, has `take_away` make its memory inaccessible.
    pub(super) fn stop(&self, take_away: impl FnOnce()) {
        let _others = self.others();
        let next = |state| match state {
            HOST => Some(STOPPED),
            GUEST => Some(TAKEN),
            _ => None,
        };
        if self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(GUEST) {
            take_away();
        }
    }

    /// Whether [`stop`](Self::stop) was called.
    pub(super) fn stopped(&self) -> bool {
        matches!(self.state.load(Ordering::Acquire), STOPPED | TAKEN)
    }

    /// Does something to a memory that is accessible, and stays so meanwhile. `None` if it was taken away.
    pub(super) fn meanwhile<R>(&self, act: impl FnOnce() -> R) -> Option<R> {
        let _others = self.others();
        (!self.taken()).then(act)
    }

    /// Whether the memory is not there for anyone.
    pub(super) fn taken(&self) -> bool {
        self.state.load(Ordering::Acquire) == TAKEN
    }

    fn others(&self) -> MutexGuard<'_, ()> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn memory_is_taken_from_running_code_only() {
        let (taken, given) = (Cell::new(false), Cell::new(false));
        let give = || {
            given.set(true);
            true
        };
        let turns = Turns::new();
        turns.enter().unwrap();
        turns.leave(give).unwrap();
        turns.stop(|| taken.set(true));
        assert!(turns.stopped() && !taken.get(), "taken from the host");
        assert!(turns.enter().is_err() && turns.meanwhile(|| ()).is_some());
        assert!(turns.leave(give).is_err() && !given.get());

        let turns = Turns::new();
        turns.enter().unwrap();
        turns.stop(|| taken.set(true));
        turns.stop(|| panic!("taken twice"));
        assert!(turns.stopped() && taken.get() && turns.meanwhile(|| ()).is_none());
        assert!(turns.leave(give).is_err() && given.get());
        assert!(turns.meanwhile(|| ()).is_some() && turns.enter().is_err() && turns.leave(give).is_err());
    }

    #[test]
    fn memory_that_cannot_be_given_back_is_left_alone() {
        let turns = Turns::new();
        turns.enter().unwrap();
        turns.stop(|| ());
        assert!(turns.leave(|| false).is_err());
        assert!(turns.meanwhile(|| ()).is_none() && turns.enter().is_err());
    }
}
