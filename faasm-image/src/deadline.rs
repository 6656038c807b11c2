//! Watches the deadlines of guests, on one thread for all of them. First a guest is interrupted, which is a request; when its grace
//! is over, it is stopped. What either means is in [`Mapping`].

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::memory::Mapping;

/// A word in the guest's memory by which the guest can be asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Where the word is, a multiple of 4.
    pub address: u32,
    /// The bits that are set in it.
    pub bits: u32,
    /// How long after that the guest is stopped.
    pub grace: Duration,
}

/// Watches a deadline for as long as the returned value lives.
///
/// Fails if the thread that watches deadlines cannot be started.
pub(crate) fn watch(
    mapping: &Arc<Mapping>,
    deadline: Instant,
    interrupt: Option<Interrupt>,
) -> io::Result<Armed> {
    let mut watch = lock();
    if !watch.started {
        thread::Builder::new().name("faasm-deadlines".to_owned()).spawn(run)?;
        watch.started = true;
    }
    let number = watch.next;
    watch.next += 1;
    watch.armed.insert((deadline, number), Target { mapping: Arc::clone(mapping), interrupt });
    if watch.wakes.is_none_or(|wakes| deadline < wakes) {
        EARLIER.notify_one();
    }
    let stop = interrupt.and_then(|it| deadline.checked_add(it.grace));
    Ok(Armed { deadline, stop: stop.unwrap_or(deadline), number })
}

/// A deadline that is being watched, until it is dropped.
pub(crate) struct Armed {
    deadline: Instant,
    stop: Instant,
    number: u64,
}

impl Drop for Armed {
    fn drop(&mut self) {
        // The thread is not woken: it finds at its next planned time that there is nothing to do. Short calls thus
        // cost no context switch.
        let mut watch = lock();
        if watch.armed.remove(&(self.deadline, self.number)).is_none() {
            watch.armed.remove(&(self.stop, self.number));
        }
    }
}

struct Target {
    mapping: Arc<Mapping>,
    /// What to do first, if that was not done yet.
    interrupt: Option<Interrupt>,
}

struct Watch {
    /// Targets by the time at which something is to be done to them, and a number that makes it unique.
    armed: BTreeMap<(Instant, u64), Target>,
    next: u64,
    started: bool,
    /// When the thread wakes by itself.
    wakes: Option<Instant>,
}

static WATCH: Mutex<Watch> =
    Mutex::new(Watch { armed: BTreeMap::new(), next: 0, started: false, wakes: None });
static EARLIER: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run() {
    let mut watch = lock();
    loop {
        let now = Instant::now();
        while let Some(entry) = watch.armed.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((deadline, number), mut target) = entry.remove_entry();
            // All of it happens under the lock, so that nothing is done to a guest whose deadline is not watched any more.
            match target.interrupt.take() {
                Some(Interrupt { address, bits, grace }) => {
                    target.mapping.interrupt(address, bits);
                    let stop = deadline.checked_add(grace).unwrap_or(deadline);
                    watch.armed.insert((stop, number), target);
                }
                None => target.mapping.stop(),
            }
        }
        watch.wakes = watch.armed.first_key_value().map(|((next, _), _)| *next);
        watch = match watch.wakes {
            None => EARLIER.wait(watch).unwrap_or_else(PoisonError::into_inner),
            Some(next) => EARLIER.wait_timeout(watch, next - now).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}
