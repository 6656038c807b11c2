//! Which call a guest is running, and what that call holds.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use faasm_image::host::Result;

use super::Host;
use super::chain::Children;
use crate::admission::Place;
use crate::function::Loaded;
use crate::runtime::{GRACE, Inner};
use crate::state::{Lock, LockGuard};

/// A call, from the inside.
pub(crate) struct CallContext {
    pub(super) runtime: Arc<Inner>,
    /// `None` while the function is being loaded.
    pub(super) function: Option<Arc<Loaded>>,
    pub(super) user: String,
    pub(super) name: String,
    pub(super) entry: String,
    pub(super) id: u64,
    pub(super) lineage: Lineage,
    /// The calls it has made, if it has made any.
    pub(super) children: Option<Children>,
    /// Locks on keys. They end with the call.
    pub(super) locks: Vec<(String, Lock, LockGuard)>,
    /// How many bytes it has written to the log.
    pub(super) logged: usize,
    pub(crate) tally: Tally,
    place: Place,
}

/// What a call has asked of its host.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Bytes of state.
    pub(crate) state_read: u64,
    pub(crate) state_written: u64,
    pub(crate) chained_calls: u32,
}

/// Where a chained call comes from.
#[derive(Clone, Default)]
pub(crate) struct Lineage {
    /// How many calls it comes from, one from the other.
    pub(super) depth: u32,
    /// How many calls have come from the first of them.
    pub(super) calls: Arc<AtomicU32>,
    /// How many bytes the host holds for calls that have come from the first of them.
    pub(super) held: Arc<AtomicUsize>,
    /// The number it was given by the call that made it.
    pub(super) id: Option<u64>,
}

/// The error by which a guest is ended whose deadline passed while it waited for something outside of it.
#[derive(Debug, thiserror::Error)]
#[error("it was waiting for {0}")]
pub(crate) struct WaitedTooLong(&'static str);

impl CallContext {
    /// What a function's import runs in.
    pub(crate) fn loading(
        runtime: &Arc<Inner>,
        user: &str,
        name: &str,
        lineage: Lineage,
        place: Place,
    ) -> Self {
        // The number in the lineage is that of the call which the import is for.
        let lineage = Lineage { id: None, ..lineage };
        Self::new(runtime, None, [user, name, ""], lineage, place)
    }

    /// What a call of a function runs in.
    pub(crate) fn calling(
        runtime: &Arc<Inner>,
        function: &Arc<Loaded>,
        entry: Option<&str>,
        lineage: Lineage,
        place: Place,
    ) -> Self {
        let names = [&function.user.name, &function.name, entry.unwrap_or(&function.entry)];
        Self::new(runtime, Some(Arc::clone(function)), names, lineage, place)
    }

    fn new(
        runtime: &Arc<Inner>,
        function: Option<Arc<Loaded>>,
        [user, name, entry]: [&str; 3],
        lineage: Lineage,
        place: Place,
    ) -> Self {
        Self {
            runtime: Arc::clone(runtime),
            function,
            user: user.to_owned(),
            name: name.to_owned(),
            entry: entry.to_owned(),
            id: lineage.id.unwrap_or_else(|| runtime.next_call.fetch_add(1, Ordering::Relaxed)),
            lineage,
            children: None,
            locks: Vec::new(),
            logged: 0,
            tally: Tally::default(),
            place,
        }
    }
}

impl CallContext {
    /// What is told of the call while it runs.
    pub(crate) fn span(&self) -> tracing::Span {
        let Self { user, name, entry, id, .. } = self;
        tracing::info_span!(target: "py_func", "call", user, function = name, entry, call = id)
    }
}

impl Host {
    /// Waits for something that other calls or machines do, named for people. Others may compute meanwhile; at the deadline the
    /// guest is ended.
    pub(super) async fn wait<T>(&mut self, what: &'static str, future: impl Future<Output = T>) -> Result<T> {
        self.wait_until(self.deadline, future).await?.ok_or_else(|| WaitedTooLong(what).into())
    }

    /// Waits for something until a point in time, and answers `None` when that has come. Others may compute meanwhile.
    pub(super) async fn wait_until<T>(
        &mut self,
        when: Option<Instant>,
        future: impl Future<Output = T>,
    ) -> Result<Option<T>> {
        let mut future = std::pin::pin!(future);
        // What is ready costs nothing.
        if let Some(ready) = poll_once(future.as_mut()).await {
            return Ok(Some(ready));
        }
        if when.is_some_and(|when| when <= Instant::now()) {
            return Ok(None);
        }
        self.suspended(until(when, future)).await
    }

    /// Awaits something while others may compute. A guest whose turn to go on does not come before it would be stopped is ended.
    pub(super) async fn suspended<T>(&mut self, future: impl Future<Output = T>) -> Result<T> {
        let computed = self.context.as_mut().is_some_and(|context| context.place.pause());
        let value = future.await;
        if computed && let Some(context) = self.context.as_mut() {
            let stopped = self.deadline.and_then(|deadline| deadline.checked_add(GRACE));
            let turn = until(stopped, context.place.resume()).await;
            turn.ok_or(WaitedTooLong("its turn to compute"))?;
        }
        Ok(value)
    }

    /// Waits until the guest has been interrupted, if its deadline has passed. The clock by which it is awaited here and the thread that
    /// interrupts are not the same, and a guest that came first would take what it waited for to have happened.
    pub(super) async fn interrupted(&mut self) {
        let Some((deadline, stopper)) = self.deadline.zip(self.stopper.as_ref()) else { return };
        while deadline <= Instant::now() && Instant::now() < deadline + GRACE && !stopper.interrupted() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// `None` if a future is not ready at a point in time.
async fn until<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// The value of a future that is ready.
pub(super) async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    use std::task::Poll;
    std::future::poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}
