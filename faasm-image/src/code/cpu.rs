//! The CPU time of guests.
//!
//! Asking the kernel for the CPU time of a thread takes a twentieth of a short call, and would be done twice. But as long as the
//! kernel has not had another thread run in its place, a thread's CPU time goes on as the time does. How often it has is known without
//! asking for it, from the same answer as the page faults (`memory/dirty.rs`), so mostly this reads the clock that needs no system call.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use crate::thread::{ThreadNumber, this_thread};

/// The CPU time that was spent on a guest.
#[derive(Default)]
pub(super) struct CpuTime {
    spent: Duration,
    /// The thread that computes for it now, and that thread's CPU time when it began.
    since: Option<(ThreadNumber, Duration)>,
}

impl CpuTime {
    /// From now on, `at`, this thread computes for the guest. `switches` is how often another thread has run in its place, if that is
    /// known.
    pub(super) fn begin(&mut self, at: Instant, switches: Option<i64>) {
        self.since = cpu_time(at, switches).map(|now| (this_thread(), now));
    }

    /// As `begin`, after an `end` and only then.
    pub(super) fn resume(&mut self) {
        if self.since.is_none() {
            self.begin(Instant::now(), None);
        }
    }

    /// This thread computes for the guest no more. Answers how much has been spent in all.
    pub(super) fn end(&mut self, switches: Option<i64>) -> Duration {
        if let Some((thread, since)) = self.since.take()
            && thread == this_thread()
            && let Some(now) = cpu_time(Instant::now(), switches)
        {
            self.spent += now.saturating_sub(since);
        }
        self.spent
    }
}

/// A moment at which the CPU time of a thread was asked for.
#[derive(Clone, Copy)]
struct Anchor {
    at: Instant,
    cpu: Duration,
    switches: i64,
}

/// For how long an anchor is used. What interrupts a thread without another one running in its place, as hypervisors do, counts as its own
/// until then.
const ANCHOR: Duration = Duration::from_millis(1);

thread_local! {
    static LAST: Cell<Option<Anchor>> = const { Cell::new(None) };
}

/// The CPU time of this thread now, `at`.
fn cpu_time(at: Instant, switches: Option<i64>) -> Option<Duration> {
    if let (Some(anchor), Some(switches)) = (LAST.get(), switches)
        && anchor.switches == switches
        && let Some(age) = at.checked_duration_since(anchor.at)
        && age < ANCHOR
    {
        return Some(anchor.cpu + age);
    }
    let cpu = thread_cpu_time()?;
    // `at` may be a while ago.
    LAST.set(switches.map(|switches| Anchor { at: Instant::now(), cpu, switches }));
    Some(cpu)
}

#[cfg(unix)]
fn thread_cpu_time() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

#[cfg(not(unix))]
fn thread_cpu_time() -> Option<Duration> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use super::*;

    fn compute() {
        let started = thread_cpu_time().unwrap();
        while thread_cpu_time().unwrap() < started + Duration::from_millis(20) {}
    }

    #[test]
    fn only_time_in_which_a_thread_computes_counts() {
        let mut time = CpuTime::default();
        time.begin(Instant::now(), None);
        compute();
        thread::sleep(Duration::from_millis(200));
        let spent = time.end(None);
        assert!((20..200).contains(&spent.as_millis()), "{spent:?}");
        // What is done between `end` and `begin` does not, nor what another thread does.
        compute();
        time.begin(Instant::now(), None);
        thread::scope(|scope| scope.spawn(compute).join().unwrap());
        let both = time.end(None);
        assert!(both >= spent && both < spent + Duration::from_millis(20), "{spent:?} {both:?}");
    }

    #[test]
    fn without_switches_the_clock_is_enough() {
        let now = |switches| cpu_time(Instant::now(), switches);
        let first = now(Some(0)).unwrap();
        let second = now(Some(0)).unwrap();
        let asked = now(None).unwrap();
        assert!(first <= second && second <= asked + ANCHOR, "{first:?} {second:?} {asked:?}");
        // A switch, after which the thread's time is not what the clock says.
        now(Some(1)).unwrap();
        thread::sleep(Duration::from_millis(200));
        assert!(now(Some(2)).unwrap() < second + Duration::from_millis(100));
    }
}
