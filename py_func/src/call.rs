//! One call: what it is given, what comes out of it, and how it can fail.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faasm_image::Stopper;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::admission::Busy;
use crate::function::{Function, Loaded, Request};
use crate::runtime::Inner;

/// A call that is about to be made. `await` it on any async runtime: then it runs on the threads of its own one, and is cancelled when
/// the future is dropped. Or [`wait`](Self::wait) for it: then it runs on this thread.
#[must_use = "nothing is called before this is awaited or waited for"]
pub struct Call<'a> {
    pub(crate) function: &'a Function,
    pub(crate) input: Vec<u8>,
    pub(crate) entry: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) account: Option<Arc<dyn Account>>,
}

/// Counts what the host holds for a call: its input, until the guest has taken it, and what it puts out.
pub(crate) trait Account: Send + Sync {
    /// Something of `before` bytes is to have `after`. Answers whether there is room for that; if there is none, nothing has changed.
    fn resize(&self, before: usize, after: usize) -> bool;

    /// Another one, for a call that this one makes, with nothing on it yet.
    fn of_chained(&self) -> Arc<dyn Account>;

    /// The call is over, and so many bytes are left of it. What is there already cannot be refused.
    fn keep(&self, bytes: usize);
}

impl Call<'_> {
    /// Calls another entry point than the function's default one.
    pub fn entry(mut self, name: impl Into<String>) -> Self {
        self.entry = Some(name.into());
        self
    }

    /// Another time limit than the runtime's.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Has what the host holds for it counted. Its input counts already.
    #[cfg(feature = "server")]
    pub(crate) fn counted_by(mut self, account: Arc<dyn Account>) -> Self {
        self.account = Some(account);
        self
    }

    /// Makes the call on this thread, as soon as fewer than the runtime's [number](crate::RuntimeBuilder::threads) of calls compute.
    ///
    /// # Errors
    ///
    /// When the call did not return; see [`CallError`].
    pub fn wait(self) -> Result<Output, CallFailure> {
        let (function, runtime, request) = self.into_request();
        let job = function.run(Arc::clone(&runtime), request);
        runtime.executor.run_blocking(job).unwrap_or_else(|| Err(CallFailure::stopped()))
    }

    /// The call as what a task is made of, and what waits for that task.
    pub(crate) fn into_job(
        self,
    ) -> (impl Future<Output = Result<Output, CallFailure>> + Send + use<>, Running) {
        let (function, runtime, request) = self.into_request();
        let running = Running { cancel: request.cancel.clone() };
        (function.run(runtime, request).in_current_span(), running)
    }

    fn into_request(self) -> (Arc<Loaded>, Arc<Inner>, Request) {
        let Self { function, input, entry, timeout, account } = self;
        let request = Request { input, entry, timeout, account, ..Request::default() };
        (Arc::clone(&function.inner), Arc::clone(&function.runtime), request)
    }
}

impl<'a> IntoFuture for Call<'a> {
    type Output = Result<Output, CallFailure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let runtime = Arc::clone(&self.function.runtime);
            let (job, running) = self.into_job();
            running.ended(runtime.executor.spawn(job)).await
        })
    }
}

/// A way to stop a call while it computes.
#[derive(Clone, Default)]
pub(crate) struct Cancel(Arc<Mutex<Progress>>);

#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    Computing(Stopper),
    Ended,
    Cancelled,
}

impl Cancel {
    /// To be called when the call begins to compute.
    pub(crate) fn arm(&self, stopper: Stopper) {
        match &mut *self.lock() {
            Progress::Cancelled => stopper.stop(),
            progress => *progress = Progress::Computing(stopper),
        }
    }

    /// When it returns, the call is not stopped any more.
    pub(crate) fn disarm(&self) {
        *self.lock() = Progress::Ended;
    }

    fn stop(&self) {
        let mut progress = self.lock();
        match &*progress {
            Progress::Computing(stopper) => stopper.stop(),
            Progress::Waiting => *progress = Progress::Cancelled,
            Progress::Ended | Progress::Cancelled => (),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is about to become a task.
pub(crate) struct Running {
    cancel: Cancel,
}

impl Running {
    /// Waits for the task, which is cancelled when this future is dropped; `None` if the threads are gone.
    pub(crate) async fn ended(
        self,
        task: Option<JoinHandle<Result<Output, CallFailure>>>,
    ) -> Result<Output, CallFailure> {
        let Some(task) = task else { return Err(CallFailure::stopped()) };
        let mut task = CancelOnDrop { task, cancel: self.cancel };
        (&mut task.task).await.unwrap_or_else(|_| Err(CallFailure::stopped()))
    }
}

struct CancelOnDrop {
    task: JoinHandle<Result<Output, CallFailure>>,
    cancel: Cancel,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // The one ends a call that waits, the other one that computes.
        self.task.abort();
        self.cancel.stop();
    }
}

/// What a call that returned has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The status: what the entry point returned if that was an int, or gave to `sys.exit()`; otherwise 0.
    pub status: i32,
    /// The output: the `bytes` or `str` that the entry point returned, else the last that was given to `faasm.output()`.
    pub output: Vec<u8>,
    /// What was written to standard output.
    pub stdout: Vec<u8>,
    /// What was written to standard error.
    pub stderr: Vec<u8>,
    /// What the call took.
    pub usage: Usage,
}

/// What a call took. What chained calls took is theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// From mapping the sandbox's memory to having read the results out of it.
    pub wall_time: Duration,
    /// How long threads computed for it in that time: the function itself and what the host did for it on its thread, but not what it
    /// waited for, nor resetting the sandbox. To a microsecond or so; zero where the system does not tell.
    pub cpu_time: Duration,
    /// The size of the sandbox's memory at the end, in bytes; most of it is shared with the function's image.
    pub memory: usize,
    /// How many bytes of that the sandbox had for itself, in whole pages: what it wrote to, or earlier calls in its place did.
    /// `None` if it was not counted, because the memory grew or the call failed.
    pub own_memory: Option<usize>,
    /// How many bytes of state it read.
    pub state_read: u64,
    /// How many bytes of state it wrote.
    pub state_written: u64,
    /// How many bytes it left: its output, standard output and standard error.
    pub output: usize,
    /// How many calls it started.
    pub chained_calls: u32,
}

/// A call that did not return, with what it had written until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// What ended it.
    pub error: CallError,
    /// What was written to standard output.
    pub stdout: Vec<u8>,
    /// What was written to standard error.
    pub stderr: Vec<u8>,
    /// What the call took.
    pub usage: Usage,
}

impl CallFailure {
    /// The thread that ran the call is gone: a bug of this crate.
    pub(crate) fn stopped() -> Self {
        Self::fault("the thread that ran the call is gone".to_owned())
    }

    /// Too many calls wait already.
    pub(crate) fn busy(Busy { limit, user }: Busy) -> Self {
        Self { error: CallError::Busy { limit, user }, ..Self::fault(String::new()) }
    }

    /// What it has left is more than may be kept.
    pub(crate) fn flood(limit: usize) -> Self {
        Self { error: CallError::OutputLimit { limit }, ..Self::fault(String::new()) }
    }

    pub(crate) fn fault(reason: String) -> Self {
        Self {
            error: CallError::Fault { reason },
            stdout: Vec::new(),
            stderr: Vec::new(),
            usage: Usage::default(),
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for CallFailure {}

/// What ended a call, or the import of a function's module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// An exception that nobody caught.
    #[error("the function raised an exception\n{}", traceback.trim_end())]
    Exception {
        /// Python's traceback.
        traceback: String,
    },

    /// The source does not compile.
    #[error("the source does not compile\n{}", text.trim_end())]
    Syntax {
        /// Python's message, with file, line and column.
        text: String,
    },

    /// There is no such entry point.
    #[error("{text}")]
    Entry {
        /// What was looked for and what there is.
        text: String,
    },

    /// The entry point returned something that is not a result.
    #[error("{text}")]
    Result {
        /// What it returned.
        text: String,
    },

    /// The time limit was reached.
    #[error("the time limit of {} was reached{}", seconds(*limit), below(text))]
    TimeLimit {
        /// The limit.
        limit: Duration,
        /// The traceback of where that was; empty if the call had to be stopped the hard way.
        text: String,
    },

    /// The call was not begun, because too many others wait.
    #[error("{limit} calls{} are waiting already", of_user(user.as_deref()))]
    Busy {
        /// How many may wait.
        limit: usize,
        /// The user whose limit it is; `None` if it is that of all calls.
        user: Option<String>,
    },

    /// The memory limit was reached and the function did not cope with it.
    #[error("the memory limit of {} was reached{}", mebibytes(*limit), below(text))]
    MemoryLimit {
        /// The limit, in bytes.
        limit: usize,
        /// The traceback of the `MemoryError`, or what the sandbox did at its end.
        text: String,
    },

    /// More output was written than allowed, to standard output, standard error or as the result.
    #[error("the output limit of {} was reached", mebibytes(*limit))]
    OutputLimit {
        /// The limit, in bytes.
        limit: usize,
    },

    /// What calls have put out, this one and others, takes all the memory that the server has for it.
    #[error("what calls have put out takes all the memory that there is for it")]
    NoRoom,

    /// The stack was used up by code that has no recursion limit of its own.
    #[error("the stack is used up")]
    StackLimit,

    /// The sandbox ended the call: a fault in native code, or one of this crate.
    #[error("the sandbox was ended: {reason}")]
    Fault {
        /// What happened, with the names of the functions it happened in where they are known.
        reason: String,
    },
}

impl CallError {
    /// A name for the kind of error, for programs: `exception`, `syntax`, `entry`, `result`, `time-limit`, `busy`, `memory-limit`,
    /// `output-limit`, `no-room`, `stack-limit` or `fault`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Exception { .. } => "exception",
            Self::Syntax { .. } => "syntax",
            Self::Entry { .. } => "entry",
            Self::Result { .. } => "result",
            Self::TimeLimit { .. } => "time-limit",
            Self::Busy { .. } => "busy",
            Self::MemoryLimit { .. } => "memory-limit",
            Self::OutputLimit { .. } => "output-limit",
            Self::NoRoom => "no-room",
            Self::StackLimit => "stack-limit",
            Self::Fault { .. } => "fault",
        }
    }

    /// What a person can do about it, as a sentence without a full stop.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Result { .. } => {
                Some("return None, an int as status, or the output as bytes or str".to_owned())
            }
            Self::Entry { .. } => {
                Some("define `faasm_main`, or name another function as entry point".to_owned())
            }
            Self::TimeLimit { .. } => {
                Some("raise the limit with --timeout if the function needs longer".to_owned())
            }
            Self::MemoryLimit { .. } => {
                Some("raise the limit with --memory if the function needs more".to_owned())
            }
            Self::OutputLimit { .. } => Some("write less, or raise the limit with --output".to_owned()),
            Self::StackLimit => Some("recurse less deeply".to_owned()),
            Self::Busy { .. } | Self::NoRoom => Some("try again later".to_owned()),
            Self::Exception { .. } | Self::Syntax { .. } | Self::Fault { .. } => None,
        }
    }
}

/// A text on lines of its own, if there is one.
fn below(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\n{}", text.trim_end()) }
}

fn of_user(user: Option<&str>) -> String {
    user.map(|user| format!(" of {user}")).unwrap_or_default()
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}

fn mebibytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}
