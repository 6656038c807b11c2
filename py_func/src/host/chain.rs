//! Calls that a call makes.

use std::collections::{HashMap, HashSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use faasm_image::host::Result;
use tokio::task::{self, JoinSet};
use tracing::Instrument as _;

use super::context::poll_once;
use super::request::{Answer, Refused};
use super::{CallContext, Host, Lineage, abi};
use crate::call::{Account, CallFailure, Output};
use crate::error::Error;
use crate::executor::Executor;
use crate::function::{Request, Target, is_valid_name};
use crate::metrics;
use crate::runtime::Inner;

/// The calls that a call has made.
#[derive(Default)]
pub(super) struct Children {
    /// The numbers of all of them.
    made: HashSet<u64>,
    running: JoinSet<Ended>,
    /// The numbers of those that run, by those of their tasks.
    numbers: HashMap<task::Id, u64>,
    ended: HashMap<u64, Ended>,
    /// The numbers of those that have ended, in the order in which they did.
    order: Vec<u64>,
}

impl Children {
    /// Waits for one more to end. `None` if none runs. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<()> {
        let (task, ended) = match self.running.join_next_with_id().await? {
            Ok(ended) => ended,
            // It panicked.
            Err(error) => (error.id(), (Err(CallFailure::stopped()), Held::nothing(&Arc::default()))),
        };
        if let Some(number) = self.numbers.remove(&task) {
            self.ended.insert(number, ended);
            self.order.push(number);
        }
        Some(())
    }

    /// Waits for a call to end. `None` if there is no such call.
    async fn end(&mut self, number: u64) -> Option<()> {
        while !self.ended.contains_key(&number) {
            self.next().await?;
        }
        Some(())
    }

    /// Waits for any of these to end, and answers which have. None if all that run have.
    async fn end_any(&mut self, numbers: &HashSet<u64>) -> Vec<u64> {
        loop {
            // Those that have ended meanwhile are no reason to wait.
            while poll_once(pin!(self.next())).await.flatten().is_some() {}
            let ended: Vec<u64> = self.order.iter().copied().filter(|it| numbers.contains(it)).collect();
            if !ended.is_empty() || self.next().await.is_none() {
                return ended;
            }
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        // They go on without the call that made them.
        self.running.detach_all();
    }
}

/// A result, and what it counts for.
type Ended = (Result<Output, CallFailure>, Held);

/// Bytes that the host holds for chained calls, their inputs and results, until this is dropped. All calls that come from one call
/// may have as many at a time as one may have memory; besides, they are on the account of the call that they are held for.
pub(super) struct Held {
    bytes: usize,
    all: Arc<AtomicUsize>,
    account: Option<Arc<dyn Account>>,
}

impl Held {
    /// `None` if that would be too many.
    fn new(all: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let held = Self { bytes, all: Arc::clone(all), account: None };
        (all.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= limit).then_some(held)
    }

    fn nothing(all: &Arc<AtomicUsize>) -> Self {
        Self { bytes: 0, all: Arc::clone(all), account: None }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Starts a call of `target`: a function, a NUL, and an entry point. Either may be empty, which stands for the function itself and
/// for its own entry point.
pub(super) fn chain(
    context: &mut CallContext,
    account: Option<&dyn Account>,
    target: &str,
    input: Vec<u8>,
) -> Result<Answer, Refused> {
    let (function, entry) = target.split_once('\0').unwrap_or((target, ""));
    let (user, name) = function.split_once('/').unwrap_or((&context.user, function));
    if user != context.user {
        return Err(Refused::value(format!("{function}: functions of other users cannot be called")));
    }
    if !name.is_empty() && !is_valid_name(name) {
        return Err(Refused::key(format!("there is no function {function}: no function can have that name")));
    }
    let found = match name {
        "" => context.function.clone().map(Target::Loaded),
        name => context.runtime.functions.get(user, name),
    };
    let found = found.ok_or_else(|| Refused::key(format!("there is no function {user}/{name}")))?;

    let (runtime, lineage) = (&context.runtime, &context.lineage);
    if lineage.depth >= runtime.chain_depth {
        let limit = runtime.chain_depth;
        return Err(Refused::runtime(format!("calls may be chained {limit} deep, and this one is")));
    }
    if lineage.calls.fetch_add(1, Ordering::Relaxed) >= runtime.chain_calls {
        let limit = runtime.chain_calls;
        return Err(Refused::runtime(format!("of one call {limit} others may come, and have")));
    }
    // What there is no room for now does not count as a call.
    let no_room = |what: &str| {
        lineage.calls.fetch_sub(1, Ordering::Relaxed);
        Refused::runtime(what.to_owned())
    };
    let held = Held::new(&lineage.held, input.len(), runtime.memory_limit).ok_or_else(|| {
        no_room("inputs and results of chained calls take more memory than one call may have")
    })?;
    let account = account.map(Account::of_chained);
    if account.as_ref().is_some_and(|account| !account.resize(0, input.len())) {
        return Err(no_room("there is no room for the input of another call"));
    }
    let id = runtime.next_call.fetch_add(1, Ordering::Relaxed);
    let request = Request {
        input,
        account,
        entry: (!entry.is_empty()).then(|| entry.to_owned()),
        lineage: Lineage { depth: lineage.depth + 1, id: Some(id), ..lineage.clone() },
        admitted: true,
        ..Request::default()
    };
    let children = context.children.get_or_insert_default();
    let span = tracing::debug_span!(target: "py_func", "chain", function = name, entry, call = id);
    let job = run(found, Arc::clone(runtime), request, held).instrument(span);
    let task = runtime.executor.spawn_into(&mut children.running, job);
    let task = task.ok_or_else(|| Refused::runtime("the runtime is shutting down".to_owned()))?;
    Executor::share();
    children.made.insert(id);
    context.tally.chained_calls += 1;
    metrics::chained();
    children.numbers.insert(task, id);
    Ok(Answer::Number(id))
}

/// A call as a future of a type that does not contain itself, as the one of an `async fn` that calls itself would.
fn run(
    target: Target,
    runtime: Arc<Inner>,
    request: Request,
    input: Held,
) -> Pin<Box<dyn Future<Output = Ended> + Send>> {
    Box::pin(async move {
        let (all, limit) = (Arc::clone(&input.all), runtime.memory_limit);
        let account = request.account.clone();
        let result = match target.load(&runtime, request.lineage.clone()).await {
            Ok(function) => function.run(runtime, request).await,
            Err(Error::Load { source, .. }) => Err(source),
            Err(error) => Err(CallFailure::fault(format!("failed to {error}"))),
        };
        drop(input);
        match Held::new(&all, size(&result), limit) {
            Some(mut held) => {
                // Of its input and its files nothing is there any more.
                if let Some(account) = &account {
                    account.keep(held.bytes);
                }
                held.account = account;
                (result, held)
            }
            None => (Err(CallFailure::flood(limit)), Held::nothing(&all)),
        }
    })
}

/// What a result takes of the host's memory.
fn size(result: &Result<Output, CallFailure>) -> usize {
    match result {
        Ok(Output { output, stdout, stderr, .. }) => output.len() + stdout.len() + stderr.len(),
        Err(CallFailure { error, stdout, stderr, .. }) => {
            error.to_string().len() + stdout.len() + stderr.len()
        }
    }
}

/// Waits for a call to end. It can be asked for again.
pub(super) async fn wait(host: &mut Host, number: u64) -> Result<Result<Answer, Refused>> {
    let unknown = || Ok(Err(Refused::value(format!("this call has not made a call {number}"))));
    let Some(mut children) = host.context.as_mut().and_then(|context| context.children.take()) else {
        return unknown();
    };
    let known = if children.made.contains(&number) {
        host.wait("a chained call", children.end(number)).await?
    } else {
        None
    };
    let answer = match known.and_then(|()| children.ended.get(&number)) {
        None => return give_back(host, children, unknown()),
        Some((Ok(output), _)) => {
            Ok(Answer::Both(u64::from(output.status.cast_unsigned()), output.output.clone()))
        }
        Some((Err(failure), _)) => Err(Refused::runtime(format!("the chained call failed: {failure}"))),
    };
    give_back(host, children, Ok(answer))
}

/// Waits for any of a number of calls to end, for so many nanoseconds at most. At the deadline the guest goes on early, is
/// interrupted, and shows where it waited.
pub(super) async fn wait_for_any(
    host: &mut Host,
    numbers: &[u8],
    nanoseconds: u64,
) -> Result<Result<Answer, Refused>> {
    let (numbers, rest) = numbers.as_chunks::<8>();
    if !rest.is_empty() {
        return Ok(Err(Refused::value("the numbers of calls are cut off".to_owned())));
    }
    let numbers: HashSet<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let mut children = host.context.as_mut().and_then(|context| context.children.take()).unwrap_or_default();
    if let Some(number) = numbers.iter().find(|number| !children.made.contains(number)) {
        let refused = Refused::value(format!("this call has not made a call {number}"));
        return give_back(host, children, Ok(Err(refused)));
    }
    let limited = nanoseconds != abi::FAASM_NONE;
    if numbers.is_empty() && !limited {
        let refused = Refused::value("there is nothing to wait for".to_owned());
        return give_back(host, children, Ok(Err(refused)));
    }
    let when = limited.then(|| Instant::now().checked_add(Duration::from_nanos(nanoseconds))).flatten();
    let when = when.into_iter().chain(host.deadline).min();
    let ended = if numbers.is_empty() {
        host.wait_until(when, std::future::pending()).await?
    } else {
        host.wait_until(when, children.end_any(&numbers)).await?
    };
    if ended.is_none() && when == host.deadline {
        host.interrupted().await;
    }
    let answer = ended.unwrap_or_default().iter().flat_map(|number| number.to_le_bytes()).collect();
    give_back(host, children, Ok(Ok(Answer::Bytes(answer))))
}

/// Puts the calls back that were taken out of the host while it waited for them.
fn give_back<T>(host: &mut Host, children: Children, result: T) -> T {
    if let Some(context) = &mut host.context {
        context.children = Some(children);
    }
    result
}
