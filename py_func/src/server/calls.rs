//! Calls that were made: the last ones in short, and the asynchronous ones with all that they have left, for a time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use utoipa::ToSchema;

use super::budget::Held;
use super::settings::Limits;
use super::wire::{CallResult, Data, ErrorDocument};
use crate::call::{CallFailure, Output};

/// How much is remembered of an output, of standard output, of standard error, and of a traceback, in bytes.
const REMEMBERED: usize = 8 << 10;

/// What a result that is kept counts for besides what the call has left, in bytes: names, numbers, and its places in tables.
const KEPT: usize = 4 << 10;

/// A call in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// The call. Later calls have larger numbers, also after the server was started anew.
    pub id: u64,
    /// Whose function was called.
    pub user: String,
    /// Which function.
    pub function: String,
    /// The version of the function: the beginning of its SHA-256.
    pub version: String,
    /// The entry point, if it was not the function's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Whether the client did not wait for it.
    pub asynchronous: bool,
    /// How far it is.
    pub state: CallState,
    /// When it was asked for, in seconds since 1970.
    pub started: f64,
    /// How long it took from then on, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The status that it returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// What ended it, as in problems: `exception`, `time-limit` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The trace that it belongs to, as in W3C Trace Context.
    pub trace: String,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// It waits or runs.
    Running,
    /// It returned.
    Returned,
    /// It did not return.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl CallState {
    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Returned => "returned",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A call with the beginning of what it has left.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Details {
    /// The call in short.
    #[serde(flatten)]
    pub summary: Summary,
    /// What ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ErrorDocument>,
    /// The first 8 KiB of its output.
    pub output: Data,
    /// The first 8 KiB of what it wrote to standard output.
    pub stdout: Data,
    /// The first 8 KiB of what it wrote to standard error.
    pub stderr: Data,
    /// Whether one of them was longer.
    pub truncated: bool,
}

/// The calls that are known.
pub(super) struct Calls {
    next: AtomicU64,
    history: usize,
    results: Duration,
    limit: usize,
    ended: Mutex<VecDeque<Arc<Details>>>,
    asynchronous: Mutex<Table>,
}

/// The asynchronous calls. Those whose results are kept may be a great many more than those under way, and few requests are about all.
#[derive(Default)]
struct Table {
    under_way: BTreeMap<u64, Arc<Asynchronous>>,
    kept: HashMap<u64, Arc<Asynchronous>>,
}

/// An asynchronous call.
pub(super) struct Asynchronous {
    pub(super) user: String,
    begun: Details,
    pub(super) cancel: Notify,
    result: watch::Sender<Option<Arc<Kept>>>,
}

/// A result that is kept.
pub(super) struct Kept {
    pub(super) details: Arc<Details>,
    /// `None` if it was cancelled.
    pub(super) result: Option<Result<Output, CallFailure>>,
    until: Instant,
    _held: Arc<Held>,
}

impl Calls {
    pub(super) fn new(limits: &Limits) -> Self {
        // Room for a million calls a second, and still a number that every JSON parser can read exactly.
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs()) << 20;
        Self {
            next: AtomicU64::new(start),
            history: limits.history,
            results: limits.results,
            limit: limits.asynchronous,
            ended: Mutex::default(),
            asynchronous: Mutex::default(),
        }
    }

    /// The number of a new call.
    pub(super) fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Remembers a call that has ended.
    pub(super) fn remember(&self, details: Arc<Details>) {
        let mut ended = locked(&self.ended);
        while ended.len() >= self.history.max(1) {
            ended.pop_front();
        }
        if self.history > 0 {
            ended.push_back(details);
        }
    }

    /// The last calls after one, newest first, of those that `wanted` says yes to.
    pub(super) fn list(&self, after: u64, count: usize, wanted: impl Fn(&Summary) -> bool) -> Vec<Summary> {
        let wanted = |summary: &&Summary| summary.id > after && wanted(summary);
        let mut list: Vec<Summary> = locked(&self.ended)
            .iter()
            .rev()
            .map(|it| &it.summary)
            .filter(wanted)
            .take(count)
            .cloned()
            .collect();
        let asynchronous = locked(&self.asynchronous);
        list.extend(asynchronous.under_way.values().map(|it| &it.begun.summary).filter(wanted).cloned());
        drop(asynchronous);
        list.sort_by_key(|it| std::cmp::Reverse(it.id));
        list.truncate(count);
        list
    }

    /// What is known of a call.
    pub(super) fn details(&self, id: u64) -> Option<Arc<Details>> {
        if let Some(call) = self.asynchronous(id) {
            return Some(call.details());
        }
        locked(&self.ended).iter().rev().find(|it| it.summary.id == id).cloned()
    }

    /// An asynchronous call whose result is still to come or is still kept.
    pub(super) fn asynchronous(&self, id: u64) -> Option<Arc<Asynchronous>> {
        let table = locked(&self.asynchronous);
        table.under_way.get(&id).or_else(|| table.kept.get(&id)).cloned()
    }

    /// Begins an asynchronous call, unless too many are under way.
    pub(super) fn begin(&self, summary: Summary) -> Option<Arc<Asynchronous>> {
        let mut calls = locked(&self.asynchronous);
        if calls.under_way.len() >= self.limit {
            return None;
        }
        let (id, user) = (summary.id, summary.user.clone());
        let begun = Details {
            summary,
            failure: None,
            output: Data::default(),
            stdout: Data::default(),
            stderr: Data::default(),
            truncated: false,
        };
        let call =
            Arc::new(Asynchronous { user, begun, cancel: Notify::new(), result: watch::Sender::new(None) });
        calls.under_way.insert(id, Arc::clone(&call));
        Some(call)
    }

    /// Keeps the result of an asynchronous call.
    pub(super) fn finish(
        &self,
        details: Arc<Details>,
        result: Option<Result<Output, CallFailure>>,
        held: Arc<Held>,
    ) {
        let id = details.summary.id;
        self.remember(Arc::clone(&details));
        let until = Instant::now() + self.results;
        let kept = Arc::new(Kept { details, result, until, _held: held });
        let mut calls = locked(&self.asynchronous);
        if let Some(call) = calls.under_way.remove(&id) {
            call.result.send_replace(Some(kept));
            calls.kept.insert(id, call);
        }
    }

    /// Forgets the result of an asynchronous call.
    pub(super) fn forget(&self, id: u64) {
        locked(&self.asynchronous).kept.remove(&id);
    }

    /// Forgets results whose time is over.
    pub(super) fn expire(&self) {
        let now = Instant::now();
        let mut calls = locked(&self.asynchronous);
        calls.kept.retain(|_, call| call.kept().is_none_or(|it| it.until > now));
        // The room that a great many once took.
        if calls.kept.capacity() > 2 * calls.kept.len() {
            calls.kept.shrink_to_fit();
        }
    }

    /// How many asynchronous calls are under way, and how many results are kept.
    pub(super) fn counts(&self) -> (usize, usize) {
        let calls = locked(&self.asynchronous);
        (calls.under_way.len(), calls.kept.len())
    }
}

impl Asynchronous {
    /// The result, if the call has ended.
    pub(super) fn kept(&self) -> Option<Arc<Kept>> {
        self.result.borrow().clone()
    }

    pub(super) fn details(&self) -> Arc<Details> {
        self.kept().map_or_else(|| Arc::new(self.begun.clone()), |it| Arc::clone(&it.details))
    }

    /// Waits for the call to end, but no longer than that.
    pub(super) async fn wait(&self, patience: Duration) {
        let mut result = self.result.subscribe();
        // Either way the state afterwards says what there is.
        let _ = tokio::time::timeout(patience, result.wait_for(Option::is_some)).await;
    }
}

impl Summary {
    /// How the call has ended.
    pub(super) fn ended(mut self, started: Instant, result: Option<&Result<Output, CallFailure>>) -> Details {
        self.seconds = Some(started.elapsed().as_secs_f64());
        let mut truncated = false;
        let mut head = |bytes: &[u8]| {
            truncated |= bytes.len() > REMEMBERED;
            Data(bytes.get(..REMEMBERED).unwrap_or(bytes).to_vec())
        };
        let (mut failure, mut output, mut stdout, mut stderr) = Default::default();
        match result {
            None => self.state = CallState::Cancelled,
            Some(Ok(returned)) => {
                (self.state, self.status) = (CallState::Returned, Some(returned.status));
                (output, stdout, stderr) =
                    (head(&returned.output), head(&returned.stdout), head(&returned.stderr));
            }
            Some(Err(failed)) => {
                let mut error = ErrorDocument::new(&failed.error);
                for text in [&mut error.message, &mut error.text] {
                    text.truncate(text.floor_char_boundary(REMEMBERED));
                }
                (self.state, self.error) = (CallState::Failed, Some(error.kind.clone()));
                (stdout, stderr) = (head(&failed.stdout), head(&failed.stderr));
                failure = Some(error);
            }
        }
        Details { summary: self, failure, output, stdout, stderr, truncated }
    }
}

impl Details {
    /// What the result of a call takes of the memory while it is kept, in bytes.
    pub(super) fn held(&self, result: Option<&Result<Output, CallFailure>>) -> usize {
        let left = match result {
            Some(Ok(output)) => output.output.len() + output.stdout.len() + output.stderr.len(),
            Some(Err(failure)) => failure.stdout.len() + failure.stderr.len(),
            None => 0,
        };
        let heads = self.output.0.len() + self.stdout.0.len() + self.stderr.0.len();
        let failure = self.failure.as_ref().map_or(0, |it| it.message.len() + it.text.len());
        KEPT + left + heads + failure
    }
}

impl Kept {
    /// The output; empty if the call did not return.
    pub(super) fn output(&self) -> &[u8] {
        match &self.result {
            Some(Ok(output)) => &output.output,
            _ => &[],
        }
    }

    /// The whole result; `None` if the call was cancelled.
    pub(super) fn document(&self) -> Option<CallResult> {
        self.result.clone().map(|result| CallResult::new(self.details.summary.id, result))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
