//! Calling functions.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::{Either, select};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::call::{Account as _, Call, CallFailure, Output, Usage};
use crate::function::Function;
use crate::server::App;
use crate::server::body::{self, Received};
use crate::server::budget::Held;
use crate::server::calls::{CallState, Details, Summary};
use crate::server::extract::{self, FunctionPath, Query};
use crate::server::json::Json;
use crate::server::observe::Trace;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::relief;
use crate::server::wire::{self, Binary, CallResult};

const CALL: HeaderName = HeaderName::from_static("faasm-call");
const STATUS: HeaderName = HeaderName::from_static("faasm-status");
const USAGE: HeaderName = HeaderName::from_static("faasm-usage");
const VERSION: HeaderName = HeaderName::from_static("faasm-version");

/// How a function is called.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Options {
    /// Answer at once, with the number of the call.
    #[serde(default, rename = "async", deserialize_with = "extract::flag")]
    #[param(value_type = Option<bool>)]
    pub(super) asynchronous: bool,
    /// The entry point, in place of the function's own.
    #[serde(default, deserialize_with = "extract::parsed")]
    #[param(min_length = 1, max_length = 256)]
    pub(super) entry: Option<String>,
    /// The version to call, in place of the last one: the first 16 digits of its SHA-256.
    #[serde(default, deserialize_with = "extract::parsed")]
    #[param(pattern = "^[0-9a-f]{16}$")]
    pub(super) version: Option<String>,
    /// How long it may take, in seconds, if that is shorter than the server's own limit.
    #[serde(default, deserialize_with = "extract::seconds")]
    #[param(value_type = Option<f64>, exclusive_minimum = 0)]
    pub(super) timeout: Option<Duration>,
}

/// Call a function.
///
/// The body is its input and the answer's body its output. The header `Faasm-Status` has the status it returned, `Faasm-Usage` what it
/// took: `wall-ns` and `cpu-ns` in nanoseconds, `memory` in all and `own-memory` for itself, where that was counted, in bytes, and so on. Who accepts
/// `application/vnd.faasm.result+json` gets a document with all that the call has left in place of its output.
#[utoipa::path(
    post,
    path = "/invoke/{user}/{function}",
    tag = "calls",
    params(FunctionPath, Options),
    request_body(content = Binary, content_type = "application/octet-stream", description = "the input"),
    responses(
        (status = 200, description = "the output", content(
            (Binary = "application/octet-stream"),
            (CallResult = "application/vnd.faasm.result+json"),
        )),
        (status = 202, description = "the call has begun; `Location` says where its state is", body = Summary),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such function, version or entry point", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "the function failed", content(
            (ProblemDocument = "application/problem+json"),
            (CallResult = "application/vnd.faasm.result+json"),
        )),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 504, description = "the time limit was reached", content(
            (ProblemDocument = "application/problem+json"),
            (CallResult = "application/vnd.faasm.result+json"),
        )),
    )
)]
pub(super) async fn invoke(
    State(app): State<Arc<App>>,
    Extension(trace): Extension<Trace>,
    FunctionPath { user, name }: FunctionPath,
    Query(options): Query<Options>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asynchronous = options.asynchronous;
    let invocation = match Invocation::new(&app, &user, &name, options, trace).await {
        Ok(invocation) => invocation,
        Err(problem) => return Ok(problem.into_answer(&headers, &app)),
    };
    let input = body::read(&app, &headers, body).await?;
    if asynchronous {
        return Ok(started(&invocation.spawn(input)?));
    }
    let ended = invocation.run(input).await;
    Ok(if wire::is_wanted(&headers) { ended.into_document(&app) } else { ended.into_answer() })
}

/// The answer to who asked for an asynchronous call.
fn started(summary: &Summary) -> Response {
    let location = format!("/calls/{}", summary.id);
    // A number is a valid header.
    let location = HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/calls"));
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(summary)).into_response()
}

/// A call that is about to be made.
pub(super) struct Invocation {
    app: Arc<App>,
    function: Function,
    entry: Option<String>,
    timeout: Option<Duration>,
    summary: Summary,
    started: Instant,
}

/// A call that has ended.
pub(super) struct Ended {
    pub(super) id: u64,
    version: String,
    pub(super) result: Result<Output, CallFailure>,
    held: Arc<Held>,
}

impl Invocation {
    /// Finds the function, loads it if need be, and checks the options.
    pub(super) async fn new(
        app: &Arc<App>,
        user: &str,
        name: &str,
        options: Options,
        Trace(trace): Trace,
    ) -> Result<Self, Problem> {
        let started = Instant::now();
        let Options { entry, timeout, asynchronous, version } = options;
        if entry.as_ref().is_some_and(|entry| entry.is_empty() || entry.len() > 256) {
            return Err(Problem::bad_request("entry", "an entry point has a name of 1 to 256 bytes"));
        }
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(Problem::bad_request("timeout", "a call needs some time"));
        }
        // What a call leaves cannot be refused, so that there has to be room before.
        if app.budget.is_full() {
            return Err(Problem::busy("requests and results take all the memory that there is for them"));
        }
        let (found, function) = app.functions.get(user, name, version.as_deref()).await?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let summary = Summary {
            id: app.calls.next_id(),
            user: user.to_owned(),
            function: name.to_owned(),
            version: found.stored.version().to_owned(),
            entry: entry.clone(),
            asynchronous,
            state: CallState::Running,
            started: since.as_secs_f64(),
            seconds: None,
            status: None,
            error: None,
            trace,
        };
        let timeout = timeout.map(|timeout| timeout.min(function.runtime.timeout));
        Ok(Self { app: Arc::clone(app), function, entry, timeout, summary, started })
    }

    /// Makes the call and waits for it. It is cancelled when this future is dropped.
    pub(super) async fn run(self, input: Received) -> Ended {
        let Received { bytes, reserved } = input;
        let held = Held::new(&self.app.budget, reserved);
        let result = match self.app.places.try_acquire() {
            Ok(_place) => relief::run_here(&self.app, self.call(bytes, &held)).await,
            Err(_) => Err(CallFailure::busy(self.app.busy())),
        };
        let Self { app, summary, started, .. } = self;
        let (id, version) = (summary.id, summary.version.clone());
        let details = Arc::new(summary.ended(started, Some(&result)));
        report(&app, &details);
        app.calls.remember(details);
        Ended { id, version, result, held }
    }

    /// Begins the call, and answers what is known of it so far.
    pub(super) fn spawn(self, input: Received) -> Result<Summary, Problem> {
        let call = self.app.calls.begin(self.summary.clone());
        let call = call.ok_or_else(|| Problem::busy("too many asynchronous calls are under way"))?;
        let summary = self.summary.clone();
        tokio::spawn(async move {
            let Received { bytes, reserved } = input;
            let held = Held::new(&self.app.budget, reserved);
            // It has been accepted, so it waits for its place.
            let called = async {
                let _place = self.app.places.acquire().await;
                self.call(bytes, &held).await
            };
            let result = match select(pin!(called), pin!(call.cancel.notified())).await {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            };
            let Self { app, summary, started, .. } = self;
            let details = Arc::new(summary.ended(started, result.as_ref()));
            report(&app, &details);
            held.keep(details.held(result.as_ref()));
            app.calls.finish(details, result, held);
        });
        Ok(summary)
    }

    fn call(&self, input: Vec<u8>, held: &Arc<Held>) -> Call<'_> {
        let mut call = self.function.call(input).counted_by(Arc::<Held>::clone(held));
        if let Some(entry) = &self.entry {
            call = call.entry(entry);
        }
        if let Some(timeout) = self.timeout {
            call = call.timeout(timeout);
        }
        call
    }
}

fn report(app: &App, details: &Details) {
    if let Some(on_call) = &app.on_call {
        on_call(details);
    }
}

impl Ended {
    /// The output, or the problem.
    pub(super) fn into_answer(self) -> Response {
        let headers = self.headers();
        self.held.keep_output(&self.result);
        match self.result {
            Ok(output) => {
                let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
                (headers, kind, body::output(output.output, self.held)).into_response()
            }
            Err(failure) => (headers, Problem::failed_call(&failure).call(self.id)).into_response(),
        }
    }

    /// A document with all that the call has left.
    fn into_document(self, app: &App) -> Response {
        let status = match &self.result {
            Ok(_) => StatusCode::OK,
            Err(failure) => Problem::failed_call(failure).status(),
        };
        let headers = self.headers();
        let document = CallResult::new(self.id, self.result);
        match wire::answer(&document, app) {
            Ok(answer) => (status, headers, answer).into_response(),
            Err(problem) => (headers, problem.call(self.id)).into_response(),
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let usage = match &self.result {
            Ok(output) => {
                headers.insert(STATUS, HeaderValue::from(output.status));
                &output.usage
            }
            Err(failure) => &failure.usage,
        };
        headers.insert(CALL, HeaderValue::from(self.id));
        // Hexadecimal digits, and numbers: always valid.
        headers.extend(HeaderValue::from_str(&self.version).map(|it| (VERSION, it)));
        headers.extend(HeaderValue::from_str(&usage_header(usage)).map(|it| (USAGE, it)));
        headers
    }
}

/// What a call took, as a dictionary of RFC 9651, whose numbers are integers.
fn usage_header(usage: &Usage) -> String {
    let Usage { wall_time, cpu_time, memory, own_memory, state_read, state_written, chained_calls, .. } =
        usage;
    let (wall, cpu) = (wall_time.as_nanos(), cpu_time.as_nanos());
    let own_memory = own_memory.map(|it| format!(", own-memory={it}")).unwrap_or_default();
    format!(
        "wall-ns={wall}, cpu-ns={cpu}, memory={memory}{own_memory}, state-read={state_read}, \
         state-written={state_written}, chained-calls={chained_calls}"
    )
}
