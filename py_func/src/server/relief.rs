//! Calls on the threads that handle requests, which saves each of them two switches between threads.
//!
//! Of tokio's threads one at a time looks for what clients have sent, when it has nothing else to do, and another takes its place when
//! there is a task for it. So if the one that has looked begins a call whose guest goes on to compute, and others have nothing to do,
//! nobody looks. Therefore a thread of ours looks every millisecond whether calls go on computing. If they do, it gives tokio a task that
//! does nothing: who runs it has nothing to do afterwards. There is one thread more than calls may compute.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;
use std::{future, io};

use tokio::runtime::Handle;

use super::App;
use crate::call::{Call, CallFailure, Output};

/// How often the thread looks.
const TICK: Duration = Duration::from_millis(1);

/// After so many looks at which nothing new had begun it sleeps until something does.
const PATIENCE: u32 = 50;

/// Runs a call as a task of the tokio runtime that this is awaited in. It is cancelled when the future is dropped.
pub(super) async fn run_here(app: &Arc<App>, call: Call<'_>) -> Result<Output, CallFailure> {
    let (job, running) = call.into_job();
    let app = Arc::clone(app);
    let watched = async move {
        let mut job = pin!(job);
        future::poll_fn(|context| app.relief.watch(|| job.as_mut().poll(context))).await
    };
    running.ended(Some(tokio::spawn(watched))).await
}

/// Knows whether calls compute.
#[derive(Default)]
pub(super) struct Relief {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The thread, when it sleeps until something begins.
    sleeping: AtomicBool,
    stop: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

impl Relief {
    /// Does something that may compute for long.
    fn watch<T>(&self, compute: impl FnOnce() -> T) -> T {
        struct Computing<'a>(&'a Relief);
        impl Drop for Computing<'_> {
            fn drop(&mut self) {
                self.0.ended.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.begun.fetch_add(1, Ordering::SeqCst);
        let _computing = Computing(self);
        if self.sleeping.load(Ordering::SeqCst) {
            self.wake();
        }
        compute()
    }

    /// Starts the thread that looks after what computes on the threads of `tokio`.
    pub(super) fn start(app: &Arc<App>, tokio: Handle) -> io::Result<Started> {
        let looking = Arc::clone(app);
        let thread = thread::Builder::new().name("faasm-relief".to_owned());
        let thread = thread.spawn(move || {
            let _ = looking.relief.thread.set(thread::current());
            looking.relief.look(&tokio);
        })?;
        Ok(Started { app: Arc::clone(app), thread: Some(thread) })
    }

    fn look(&self, tokio: &Handle) {
        let (mut seen, mut quiet) = (0, 0);
        while !self.stop.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            // In this order: what ends in between counts as computing, which does no harm.
            let ended = self.ended.load(Ordering::SeqCst);
            let begun = self.begun.load(Ordering::SeqCst);
            if begun != seen {
                (seen, quiet) = (begun, 0);
                continue;
            }
            quiet += 1;
            // Once is enough: whoever looks now computes only after something else has begun.
            if quiet == 1 && ended != begun {
                drop(tokio.spawn(async {}));
            }
            if quiet > PATIENCE {
                self.sleep(seen);
                quiet = 0;
            }
        }
    }

    /// Sleeps until something has begun since `seen`.
    fn sleep(&self, seen: u64) {
        self.sleeping.store(true, Ordering::SeqCst);
        while self.sleeping.load(Ordering::SeqCst)
            && self.begun.load(Ordering::SeqCst) == seen
            && !self.stop.load(Ordering::SeqCst)
        {
            thread::park();
        }
        self.sleeping.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// Ends the thread when it is dropped.
pub(super) struct Started {
    app: Arc<App>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.app.relief.stop.store(true, Ordering::SeqCst);
        self.app.relief.wake();
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
