//! Where guests run. A guest computes; run on an async runtime of somebody else it would hold up everything there.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::Builder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use crate::metrics;

/// A number of threads, and as many permits to compute.
pub(crate) struct Executor {
    // `None` only while dropping.
    tokio: Option<tokio::runtime::Runtime>,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    begun: Arc<AtomicUsize>,
    queue: usize,
    threads: usize,
}

/// The right to compute, until it is dropped. Whoever waits gives it back meanwhile.
pub(crate) type Permit = OwnedSemaphorePermit;

/// A place among the calls that have begun, whether they compute or wait, until it is dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Executor {
    /// Starts the threads; their number is that of the processors if `threads` is `None`. More than `queue` calls do not wait to
    /// begin, nor for something else when they have begun.
    pub(crate) fn start(threads: Option<NonZero<usize>>, queue: usize) -> io::Result<Self> {
        let count = match threads {
            Some(count) => count.get(),
            None => std::thread::available_parallelism().map_or(1, NonZero::get),
        };
        let tokio =
            Builder::new_multi_thread().worker_threads(count).thread_name("faasm").enable_time().build()?;
        let permits = Arc::new(Semaphore::new(count));
        let (waiting, begun) = (AtomicUsize::new(0), Arc::default());
        Ok(Self { tokio: Some(tokio), permits, waiting, begun, queue, threads: count })
    }

    /// Waits for the right to compute, to begin a call. `None` if too many wait to begin, unless it is `admitted` anyway, or too many
    /// have begun and wait for something.
    pub(crate) async fn enter(&self, admitted: bool) -> Option<(Permit, Place)> {
        let permit = if admitted { self.readmit().await } else { self.admit().await }?;
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.begun));
        (before < self.queue.saturating_add(self.threads)).then_some((permit, place))
    }

    async fn admit(&self) -> Option<Permit> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue {
            return None;
        }
        let started = Instant::now();
        let permit = self.readmit().await;
        metrics::waited(started.elapsed());
        permit
    }

    /// Waits for the right to compute, however many wait: for a call that has begun.
    pub(crate) async fn readmit(&self) -> Option<Permit> {
        // An error would mean that the semaphore is closed, which nobody does.
        Arc::clone(&self.permits).acquire_owned().await.ok()
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

    /// Lets other threads have what was woken on this one. tokio keeps the last task that was with the thread that woke it, for when the
    /// task there waits, and a guest may compute for long; another task takes its place there.
    pub(crate) fn share(&self) {
        if let Some(tokio) = &self.tokio {
            drop(tokio.spawn(async {}));
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
        Executor::start(NonZero::new(1), 1).unwrap()
    }

    #[test]
    fn a_panic_costs_one_job_and_no_thread() {
        let executor = one();
        let panics = || async { panic!("expected by this test") };
        assert_eq!(executor.run_blocking::<u32>(panics()), None);
        assert!(executor.run_blocking(executor.spawn(panics()).unwrap()).unwrap().is_err());
        assert_eq!(executor.run_blocking(executor.spawn(async { 1 }).unwrap()).unwrap().unwrap(), 1);
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let executor = one();
        executor.run_blocking(async {
            let first = executor.admit().await.unwrap();
            let mut second = Box::pin(executor.admit());
            assert!(futures_poll(&mut second).await.is_none());
            assert!(executor.admit().await.is_none(), "one may wait, and one does");
            drop(first);
            drop(second.await.unwrap());
            assert!(executor.admit().await.is_some());
        });
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(value) => Some(value),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
