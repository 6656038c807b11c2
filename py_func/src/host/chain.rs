//! Calls that a call makes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use faasm_image::host::Result;
use tokio::task::JoinHandle;

use super::request::{Answer, Refused};
use super::{CallContext, Host, Lineage};
use crate::call::{CallFailure, Output};
use crate::error::Error;
use crate::function::{Request, Target};
use crate::runtime::Inner;

/// The calls that a call has made, by their numbers.
#[derive(Default)]
pub(super) struct Children(HashMap<u64, Child>);

enum Child {
    Running(JoinHandle<Result<Output, CallFailure>>),
    Ended(Result<Output, CallFailure>),
}

/// Starts a call of `target`: a function, a NUL, and an entry point. Either may be empty, which stands for the function itself and
/// for its own entry point.
pub(super) fn chain(context: &mut CallContext, target: &str, input: Vec<u8>) -> Result<Answer, Refused> {
    let (function, entry) = target.split_once('\0').unwrap_or((target, ""));
    let (user, name) = function.split_once('/').unwrap_or((&context.user, function));
    if user != context.user {
        return Err(Refused::value(format!("{function}: functions of other users cannot be called")));
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
    let id = runtime.next_call.fetch_add(1, Ordering::Relaxed);
    let request = Request {
        input,
        entry: (!entry.is_empty()).then(|| entry.to_owned()),
        lineage: Lineage { depth: lineage.depth + 1, calls: Arc::clone(&lineage.calls), id: Some(id) },
        admitted: true,
        ..Request::default()
    };
    let task = runtime.executor.spawn(run(found, Arc::clone(runtime), request));
    let task = task.ok_or_else(|| Refused::runtime("the runtime is shutting down".to_owned()))?;
    context.children.0.insert(id, Child::Running(task));
    Ok(Answer::Number(id))
}

/// A call as a future of a type that does not contain itself, as the one of an `async fn` that calls itself would.
fn run(
    target: Target,
    runtime: Arc<Inner>,
    request: Request,
) -> Pin<Box<dyn Future<Output = Result<Output, CallFailure>> + Send>> {
    Box::pin(async move {
        let function = target.load(&runtime).await.map_err(|error| match error {
            Error::Load { source, .. } => source,
            error => CallFailure::fault(format!("failed to {error}")),
        })?;
        function.run(runtime, request).await
    })
}

/// Waits for a call to end. It can be asked for again.
pub(super) async fn wait(host: &mut Host, id: u64) -> Result<Result<Answer, Refused>> {
    let child = host.context.as_mut().and_then(|context| context.children.0.remove(&id));
    let result = match child {
        None => return Ok(Err(Refused::value(format!("this call has not made a call {id}")))),
        Some(Child::Ended(result)) => result,
        Some(Child::Running(task)) => {
            host.wait("a chained call", task).await?.unwrap_or_else(|_| Err(CallFailure::stopped()))
        }
    };
    let answer = match &result {
        Ok(output) => Ok(Answer::Both(u64::from(output.status.cast_unsigned()), output.output.clone())),
        Err(failure) => Err(Refused::runtime(format!("the chained call failed: {failure}"))),
    };
    if let Some(context) = &mut host.context {
        context.children.0.insert(id, Child::Ended(result));
    }
    Ok(answer)
}
