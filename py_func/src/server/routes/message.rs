//! The message by which the original Faasm is asked for calls: JSON at the root.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::invoke::{Invocation, Options};
use crate::server::App;
use crate::server::access::Principal;
use crate::server::body::{self, Received};
use crate::server::extract::check_name;
use crate::server::observe::Trace;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::wire::Binary;

/// A message as the original's clients send it. What it does not know is passed over, as in the original.
#[derive(Deserialize, ToSchema)]
#[serde(default)]
#[derive(Default)]
pub(in crate::server) struct Message {
    /// Whose function it is, unless `py_user` says so; `python` for functions in Python.
    user: String,
    /// Which function, unless `py_func` says so; `py_func` for functions in Python.
    function: String,
    /// Whose function it is.
    py_user: String,
    /// Which function.
    py_func: String,
    /// The entry point.
    py_entry: String,
    /// Whether it is a function in Python, as all are here.
    python: bool,
    /// The input.
    input_data: String,
    /// Answer at once, with the number of the call.
    #[serde(rename = "async")]
    asynchronous: bool,
    /// Ask how far the call `id` is.
    status: bool,
    /// Which call; a number, or a string that is one.
    #[serde(deserialize_with = "number")]
    #[schema(value_type = Option<u64>)]
    id: Option<u64>,
    /// Forget what is loaded.
    flush: bool,
}

/// Do what a message of the original Faasm says.
///
/// A call answers its output; an asynchronous one its number as text; a question for the state `RUNNING`, or `SUCCESS: ` or `FAILED: `
/// and what there is to say.
#[utoipa::path(
    post,
    path = "/",
    tag = "calls",
    request_body(content = Message, description = "the message"),
    responses(
        (status = 200, description = "the output, the number of the call, or its state", body = Binary, content_type = "application/octet-stream"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such function, entry point or call", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 500, description = "the function failed", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 504, description = "the time limit was reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn message(
    State(app): State<Arc<App>>,
    Extension(trace): Extension<Trace>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Received { bytes, reserved } = body::read(&app, &headers, body).await?;
    let message: Message = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request("message", format!("the body is not a message: {error}")))?;
    drop(bytes);
    if message.status {
        return state(&app, &principal, &message);
    }
    if message.flush {
        principal.check_all()?;
        app.flush().await?;
        return Ok(text("Flush sent\n".to_owned()));
    }

    let either = |python: String, other: String| if python.is_empty() { other } else { python };
    let user = either(message.py_user, message.user);
    let name = either(message.py_func, message.function);
    for (name, what) in [(&user, "user"), (&name, "function")] {
        if name.is_empty() {
            return Err(Problem::bad_request("message", format!("the message names no {what}")));
        }
        check_name(name)?;
    }
    principal.check(&user)?;
    let entry = Some(message.py_entry).filter(|entry| !entry.is_empty());
    let options = Options { asynchronous: message.asynchronous, entry, ..Options::default() };
    let invocation = Invocation::new(&app, &user, &name, options, trace).await?;
    let input = Received { bytes: message.input_data.into_bytes(), reserved };
    if message.asynchronous {
        return Ok(text(invocation.spawn(input)?.id.to_string()));
    }
    Ok(invocation.run(input).await.into_answer())
}

fn state(app: &App, principal: &Principal, message: &Message) -> Result<Response, Problem> {
    let id = message.id.ok_or_else(|| Problem::bad_request("message", "the message names no call"))?;
    let call = app.calls.asynchronous(id).filter(|it| principal.may_see(&it.user)).ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "no-call",
            format!("there is no call {id}, or it was too long ago"),
        )
    })?;
    let Some(kept) = call.kept() else { return Ok(text("RUNNING".to_owned())) };
    let (word, bytes) = match &kept.result {
        Some(Ok(output)) if output.status == 0 => ("SUCCESS", output.output.clone()),
        Some(Ok(output)) => ("FAILED", output.output.clone()),
        Some(Err(failure)) => ("FAILED", failure.to_string().into_bytes()),
        None => ("FAILED", b"the call was cancelled".to_vec()),
    };
    let answer = [word.as_bytes(), b": ", &bytes].concat();
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body::of(answer, app)?).into_response())
}

fn text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], text).into_response()
}

/// A number, or a string that is one.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Option::<Either>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Either::Number(number)) => Ok(Some(number)),
        Some(Either::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}
