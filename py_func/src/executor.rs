//! Where guests run. A guest computes; run on an async runtime of somebody else it would hold up everything there.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinHandle, JoinSet};

use crate::admission::{Gate, Limits, Share};

/// A number of threads, and the right to compute for as many calls.
pub(crate) struct Executor {
    // `None` only while dropping.
    tokio: Option<tokio::runtime::Runtime>,
    pub(crate) gate: Arc<Gate>,
}

impl Executor {
    /// Starts the threads; their number is that of the processors if `threads` is `None`. Of `queue` calls that wait, and of one user's
    /// calls, see [`Gate`].
    pub(crate) fn start(
        threads: Option<NonZero<usize>>,
        queue: usize,
        user: Option<Share>,
    ) -> io::Result<Self> {
        let count = match threads {
            Some(count) => count.get(),
            None => std::thread::available_parallelism().map_or(1, NonZero::get),
        };
        let tokio =
            Builder::new_multi_thread().worker_threads(count).thread_name("faasm").enable_time().build()?;
        let all = Share { computing: count, waiting: queue };
        let gate = Gate::new(Limits { all, user: user.unwrap_or(all) });
        Ok(Self { tokio: Some(tokio), gate })
    }

    /// Runs `job` on one of the threads.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        job: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        self.tokio.as_ref().map(|tokio| tokio.spawn(job))
    }

    /// Runs `job` on one of the threads as one of `jobs`. Answers what its result is known by; `None` if the threads are gone.
    pub(crate) fn spawn_into<T: Send + 'static>(
        &self,
        jobs: &mut JoinSet<T>,
        job: impl Future<Output = T> + Send + 'static,
    ) -> Option<tokio::task::Id> {
        self.tokio.as_ref().map(|tokio| jobs.spawn_on(job, tokio.handle()).id())
    }

    /// Lets other threads have what was woken on this one, whosever thread it is. tokio keeps the last task that was with the thread that
    /// woke it, for when the task there waits, and a guest may compute for long; another task takes its place there.
    pub(crate) fn share() {
        if let Ok(here) = Handle::try_current() {
            drop(here.spawn(async {}));
        }
    }

    /// Runs `job` on this thread and blocks until it is ready; `None` if it panicked.
    pub(crate) fn run_blocking<T>(&self, job: impl Future<Output = T>) -> Option<T> {
        // Its timers are those of the threads.
        let _entered = self.tokio.as_ref()?.enter();
        // A panic must cost one call, and not the thread of whoever made it.
        catch_unwind(AssertUnwindSafe(|| pollster::block_on(job))).ok()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Not by waiting: the last reference to a runtime may be dropped by one of its own jobs.
        if let Some(tokio) = self.tokio.take() {
            tokio.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Executor {
        Executor::start(NonZero::new(1), 1, None).unwrap()
    }

    #[test]
    fn a_panic_costs_one_job_and_no_thread() {
        let executor = one();
        let panics = || async { panic!("expected by this test") };
        assert_eq!(executor.run_blocking::<u32>(panics()), None);
        assert!(executor.run_blocking(executor.spawn(panics()).unwrap()).unwrap().is_err());
        assert_eq!(executor.run_blocking(executor.spawn(async { 1 }).unwrap()).unwrap().unwrap(), 1);
    }
}
