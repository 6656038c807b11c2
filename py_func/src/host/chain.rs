//! Calls that a call makes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faasm_image::host::Result;
use tokio::task::JoinHandle;

use super::request::{Answer, Refused};
use super::{CallContext, Host, Lineage};
use crate::call::{CallFailure, Output};
use crate::error::Error;
use crate::function::{Request, Target, is_valid_name};
use crate::runtime::Inner;

/// The calls that a call has made, by their numbers.
#[derive(Default)]
pub(super) struct Children(HashMap<u64, Child>);

enum Child {
    Running(JoinHandle<Ended>),
    Ended(Ended),
}

/// A result, and what it counts for.
type Ended = (Result<Output, CallFailure>, Held);

/// Bytes that the host holds for chained calls, their inputs and results, until this is dropped. All calls that come from one call
/// may have as many at a time as one may have memory.
pub(super) struct Held {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Held {
    /// `None` if that would be too many.
    fn new(all: &Arc<AtomicUsize>, bytes: usize, limit: usize) -> Option<Self> {
        let held = Self { bytes, all: Arc::clone(all) };
        (all.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= limit).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Starts a call of `target`: a function, a NUL, and an entry point. Either may be empty, which stands for the function itself and
/// for its own entry point.
pub(super) fn chain(context: &mut CallContext, target: &str, input: Vec<u8>) -> Result<Answer, Refused> {
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
    let held = Held::new(&lineage.held, input.len(), runtime.memory_limit).ok_or_else(|| {
        Refused::runtime(
            "inputs and results of chained calls take more memory than one call may have".to_owned(),
        )
    })?;
    let id = runtime.next_call.fetch_add(1, Ordering::Relaxed);
    let request = Request {
        input,
        entry: (!entry.is_empty()).then(|| entry.to_owned()),
        lineage: Lineage { depth: lineage.depth + 1, id: Some(id), ..lineage.clone() },
        admitted: true,
        ..Request::default()
    };
    let task = runtime.executor.spawn(run(found, Arc::clone(runtime), request, held));
    let task = task.ok_or_else(|| Refused::runtime("the runtime is shutting down".to_owned()))?;
    runtime.executor.share();
    context.children.0.insert(id, Child::Running(task));
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
        let result = match target.load(&runtime, request.lineage.clone()).await {
            Ok(function) => function.run(runtime, request).await,
            Err(Error::Load { source, .. }) => Err(source),
            Err(error) => Err(CallFailure::fault(format!("failed to {error}"))),
        };
        drop(input);
        match Held::new(&all, size(&result), limit) {
            Some(held) => (result, held),
            None => (Err(CallFailure::flood(limit)), Held { bytes: 0, all }),
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
pub(super) async fn wait(host: &mut Host, id: u64) -> Result<Result<Answer, Refused>> {
    let child = host.context.as_mut().and_then(|context| context.children.0.remove(&id));
    let result = match child {
        None => return Ok(Err(Refused::value(format!("this call has not made a call {id}")))),
        Some(Child::Ended(result)) => result,
        Some(Child::Running(task)) => match host.wait("a chained call", task).await? {
            Ok(ended) => ended,
            // It panicked.
            Err(_) => (Err(CallFailure::stopped()), Held { bytes: 0, all: Arc::default() }),
        },
    };
    let answer = match &result.0 {
        Ok(output) => Ok(Answer::Both(u64::from(output.status.cast_unsigned()), output.output.clone())),
        Err(failure) => Err(Refused::runtime(format!("the chained call failed: {failure}"))),
    };
    if let Some(context) = &mut host.context {
        context.children.0.insert(id, Child::Ended(result));
    }
    Ok(answer)
}
