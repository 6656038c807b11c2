//! Calls that were made.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::server::App;
use crate::server::access::Principal;
use crate::server::body;
use crate::server::calls::{Asynchronous, CallState, Details, Kept, Summary};
use crate::server::extract::{self, CallPath, Query};
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::wire::{self, Binary, CallResult};

/// How long a client may wait for a call to end in one request.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which calls.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those of functions of this user alone.
    #[serde(default, deserialize_with = "extract::parsed")]
    user: Option<String>,
    /// Those of functions of this name alone.
    #[serde(default, deserialize_with = "extract::parsed")]
    function: Option<String>,
    /// Those after this one alone.
    #[serde(default, deserialize_with = "extract::parsed")]
    #[param(value_type = Option<u64>)]
    after: Option<u64>,
    /// How many; of more than 1000 the newest 1000 are answered.
    #[serde(default, deserialize_with = "extract::parsed")]
    #[param(value_type = Option<u64>, default = 100, minimum = 0)]
    limit: Option<usize>,
}

/// How long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wait {
    /// How many seconds to wait for the call to end, 60 at most.
    #[serde(default, deserialize_with = "extract::seconds")]
    #[param(value_type = Option<f64>, minimum = 0)]
    wait: Option<Duration>,
}

/// List the last calls that the client may see, the newest first.
#[utoipa::path(
    get,
    path = "/calls",
    tag = "calls",
    params(Which),
    responses(
        (status = 200, description = "the calls", body = Vec<Summary>),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    principal: Principal,
    Query(which): Query<Which>,
) -> Json<Vec<Summary>> {
    let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let wanted = |it: &Summary| {
        principal.may_see(&it.user) && is(&which.user, &it.user) && is(&which.function, &it.function)
    };
    Json(app.calls.list(which.after.unwrap_or(0), which.limit.unwrap_or(100).min(1000), wanted))
}

/// Get what is known of a call.
#[utoipa::path(
    get,
    path = "/calls/{id}",
    tag = "calls",
    params(CallPath, Wait),
    responses(
        (status = 200, description = "its state, and the beginning of what it has left", body = Details),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such call, or it was long ago", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    principal: Principal,
    CallPath { id }: CallPath,
    Query(wait): Query<Wait>,
) -> Result<Json<Details>, Problem> {
    if let Some(call) = app.calls.asynchronous(id).filter(|it| principal.may_see(&it.user)) {
        wait_for(&call, &wait).await;
    }
    Ok(Json((*details(&app, &principal, id)?).clone()))
}

/// Cancel an asynchronous call, or forget the result of one that has ended.
#[utoipa::path(
    delete,
    path = "/calls/{id}",
    tag = "calls",
    params(CallPath),
    responses(
        (status = 204, description = "it is being ended, or its result is gone"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such asynchronous call, or it was long ago", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    principal: Principal,
    CallPath { id }: CallPath,
) -> Result<StatusCode, Problem> {
    let call = asynchronous(&app, &principal, id)?;
    if call.kept().is_some() {
        app.calls.forget(id);
    } else {
        call.cancel.notify_one();
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Get the output of an asynchronous call.
#[utoipa::path(
    get,
    path = "/calls/{id}/output",
    tag = "calls",
    params(CallPath, Wait),
    responses(
        (status = 200, description = "the output", body = Binary, content_type = "application/octet-stream"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such asynchronous call, or it was long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "it has not ended", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "it was cancelled", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "the function failed", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "there was too much going on for it", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 504, description = "the time limit was reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn output(
    State(app): State<Arc<App>>,
    principal: Principal,
    CallPath { id }: CallPath,
    Query(wait): Query<Wait>,
) -> Result<Response, Problem> {
    let kept = ended(&app, &principal, id, &wait).await?;
    match &kept.result {
        Some(Ok(_)) => {
            let kind = HeaderValue::from_static("application/octet-stream");
            let output = Bytes::from_owner(KeptOutput(kept));
            Ok(([(CONTENT_TYPE, kind)], Body::from(output)).into_response())
        }
        Some(Err(failure)) => Err(Problem::failed_call(failure).call(id)),
        None => Err(cancelled(id)),
    }
}

/// Get all that an asynchronous call has left.
#[utoipa::path(
    get,
    path = "/calls/{id}/result",
    tag = "calls",
    params(CallPath, Wait),
    responses(
        (status = 200, description = "how it has ended", body = CallResult, content_type = "application/vnd.faasm.result+json"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such asynchronous call, or it was long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "it has not ended", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 410, description = "it was cancelled", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "there is no memory for it now", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn result(
    State(app): State<Arc<App>>,
    principal: Principal,
    CallPath { id }: CallPath,
    Query(wait): Query<Wait>,
) -> Result<Response, Problem> {
    let kept = ended(&app, &principal, id, &wait).await?;
    let document = kept.document().ok_or_else(|| cancelled(id))?;
    wire::answer(&document, &app)
}

/// Get what a call wrote to standard output and standard error, one after the other, and its traceback.
#[utoipa::path(
    get,
    path = "/calls/{id}/logs",
    tag = "calls",
    params(CallPath),
    responses(
        (status = 200, description = "the text; of each the first 8 KiB, unless it is a result that is kept", body = String, content_type = "text/plain"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such call, or it was long ago", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "there is no memory for it now", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn logs(
    State(app): State<Arc<App>>,
    principal: Principal,
    CallPath { id }: CallPath,
) -> Result<Response, Problem> {
    let details = details(&app, &principal, id)?;
    let kept = app.calls.asynchronous(id).and_then(|call| call.kept());
    let (stdout, stderr) = match kept.as_ref().and_then(|kept| kept.result.as_ref()) {
        Some(Ok(output)) => (&output.stdout, &output.stderr),
        Some(Err(failure)) => (&failure.stdout, &failure.stderr),
        None => (&details.stdout.0, &details.stderr.0),
    };
    let mut text = [stdout.as_slice(), stderr.as_slice()].concat();
    if let Some(failure) = &details.failure {
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        text.extend(failure.message.as_bytes());
        text.push(b'\n');
    }
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(CONTENT_TYPE, kind)], body::of(text, &app)?).into_response())
}

/// The output of a result, which is kept for as long as it is being sent.
struct KeptOutput(Arc<Kept>);

impl AsRef<[u8]> for KeptOutput {
    fn as_ref(&self) -> &[u8] {
        self.0.output()
    }
}

async fn wait_for(call: &Asynchronous, wait: &Wait) {
    if let Some(patience) = wait.wait {
        call.wait(patience.min(PATIENCE)).await;
    }
}

async fn ended(app: &App, principal: &Principal, id: u64, wait: &Wait) -> Result<Arc<Kept>, Problem> {
    let call = asynchronous(app, principal, id)?;
    wait_for(&call, wait).await;
    call.kept().ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "running", format!("the call {id} has not ended"))
            .hint("wait for it with ?wait=SECONDS")
            .retry_after(1)
    })
}

/// A call of someone else is as good as none.
fn details(app: &App, principal: &Principal, id: u64) -> Result<Arc<Details>, Problem> {
    let details = app.calls.details(id).filter(|it| principal.may_see(&it.summary.user));
    details.ok_or_else(|| no_call(format!("there is no call {id}, or it was too long ago")))
}

fn asynchronous(app: &App, principal: &Principal, id: u64) -> Result<Arc<Asynchronous>, Problem> {
    let call = app.calls.asynchronous(id).filter(|it| principal.may_see(&it.user));
    call.ok_or_else(|| no_call(format!("there is no asynchronous call {id}, or it was too long ago")))
}

fn no_call(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-call", detail)
}

fn cancelled(id: u64) -> Problem {
    Problem::new(StatusCode::GONE, CallState::Cancelled.name(), format!("the call {id} was cancelled"))
}
