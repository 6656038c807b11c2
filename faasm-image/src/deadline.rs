//! Stops guests which run for too long. Compiled code compares a counter, the engine's epoch, with its store's limit
//! at every loop and call; this module raises the epoch when a deadline has passed.
//!
//! The cost of those checks is 10 to 30 % of a guest's speed, so the mechanism will be replaced. Nothing outside this
//! file and the engine's setting knows how it works.

use std::{
    collections::BTreeSet,
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Engine, Store, UpdateDeadline};

/// How often the epoch is raised while a guest is past its deadline and has not stopped yet, because it is inside a
/// function of the host or because it looked at the clock just before the deadline.
const REPEAT: Duration = Duration::from_millis(10);

/// Stops guests in `store` from `deadline` on for as long as the returned value lives; without a deadline, lets them
/// run. A guest stops with the engine's interrupt trap, and every later call into it too. Time in functions of the
/// host counts, but a guest is only stopped once they have returned.
///
/// Fails if the thread that watches deadlines cannot be started.
pub(crate) fn set<T: 'static>(store: &mut Store<T>, deadline: Option<Instant>) -> io::Result<Option<Armed>> {
    let Some(deadline) = deadline else {
        // The sum with the current epoch must not overflow.
        store.set_epoch_deadline(u64::MAX / 2);
        return Ok(None);
    };
    store.epoch_deadline_callback(move |_| {
        let passed = Instant::now() >= deadline;
        Ok(if passed { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
    });
    store.set_epoch_deadline(1);
    arm(store.engine(), deadline).map(Some)
}

/// A deadline that is being watched, until it is dropped.
pub(crate) struct Armed(Instant, u64);

impl Drop for Armed {
    fn drop(&mut self) {
        // The thread is not woken: it finds at its next planned time that there is nothing to do. Short calls thus
        // cost no context switch.
        lock().armed.remove(&(self.0, self.1));
    }
}

struct Watch {
    /// Deadlines by time, each with a number that makes it unique.
    armed: BTreeSet<(Instant, u64)>,
    next: u64,
    started: bool,
    /// When the thread wakes by itself.
    wakes: Option<Instant>,
}

static WATCH: Mutex<Watch> =
    Mutex::new(Watch { armed: BTreeSet::new(), next: 0, started: false, wakes: None });
static EARLIER: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn arm(engine: &Engine, deadline: Instant) -> io::Result<Armed> {
    let mut watch = lock();
    if !watch.started {
        let engine = engine.clone();
        thread::Builder::new().name("faasm-deadlines".to_owned()).spawn(move || run(&engine))?;
        watch.started = true;
    }
    let armed = Armed(deadline, watch.next);
    watch.next += 1;
    watch.armed.insert((armed.0, armed.1));
    if watch.wakes.is_none_or(|wakes| deadline < wakes) {
        EARLIER.notify_one();
    }
    Ok(armed)
}

fn run(engine: &Engine) {
    let mut watch = lock();
    loop {
        let Some(&(earliest, _)) = watch.armed.first() else {
            watch.wakes = None;
            watch = EARLIER.wait(watch).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let now = Instant::now();
        let wakes = if earliest <= now {
            engine.increment_epoch();
            let future = watch.armed.range((now, u64::MAX)..).next();
            future.map_or(now + REPEAT, |&(next, _)| next.min(now + REPEAT))
        } else {
            earliest
        };
        watch.wakes = Some(wakes);
        watch = EARLIER.wait_timeout(watch, wakes - now).unwrap_or_else(PoisonError::into_inner).0;
    }
}
