//! The threads on which guests run. A guest computes; run on an async runtime's own threads it would hold up everything else there.

use std::io;
use std::num::NonZero;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads with a queue before them.
pub(crate) struct Executor {
    // `None` only while dropping.
    queue: Option<crossbeam_channel::Sender<Job>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Executor {
    /// Starts the threads; their number is that of the processors if `threads` is `None`.
    pub(crate) fn start(threads: Option<NonZero<usize>>) -> io::Result<Self> {
        let count = match threads {
            Some(count) => count.get(),
            None => std::thread::available_parallelism().map_or(1, NonZero::get),
        };
        let (queue, jobs) = crossbeam_channel::unbounded::<Job>();
        let threads = (0..count)
            .map(|number| {
                let jobs = jobs.clone();
                std::thread::Builder::new()
                    .name(format!("faasm-{number}"))
                    .stack_size(faasm_image::THREAD_STACK)
                    .spawn(move || jobs.iter().for_each(|job| job()))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Runs `job` and waits for what it returns without blocking the thread; `None` if it panicked.
    pub(crate) fn run<T: Send + 'static, J: FnOnce() -> T + Send + 'static>(
        &self,
        job: J,
    ) -> impl Future<Output = Option<T>> + Send + use<T, J> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move || {
            // A panic must cost one call, not a thread; the caller sees that the sender is gone.
            if let Ok(result) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)) {
                let _ = sender.send(result);
            }
        });
        if let Some(queue) = &self.queue {
            let _ = queue.send(job);
        }
        async move { receiver.await.ok() }
    }

    /// Runs `job` and blocks until it has returned; `None` if it panicked.
    pub(crate) fn run_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        pollster::block_on(self.run(job))
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // The last reference to a runtime may be dropped by one of its own jobs.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_job_and_no_thread() {
        let executor = Executor::start(NonZero::new(1)).unwrap();
        assert_eq!(executor.run_blocking(|| -> u32 { panic!("expected by this test") }), None);
        assert_eq!(executor.run_blocking(|| 1), Some(1));
    }
}
