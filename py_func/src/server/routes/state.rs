//! State over HTTP: what the functions of this server see, and durable when it is answered.

use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server::App;
use crate::server::body;
use crate::server::extract::{KeyPath, UserPath};
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::range::{self, Part};
use crate::server::wire::Binary;
use crate::state::{self, State};

/// How much of a value is in memory while it is sent, in bytes.
const CHUNK: u64 = 256 << 10;

/// The keys of a user.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// The keys for which there is a value or a log, sorted.
    pub keys: Vec<String>,
}

/// List the keys of a user's state.
#[utoipa::path(
    get,
    path = "/s/{user}",
    tag = "state",
    params(UserPath),
    responses(
        (status = 200, description = "the keys", body = Keys),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    extract::State(app): extract::State<Arc<App>>,
    UserPath { user }: UserPath,
) -> Result<Json<Keys>, Problem> {
    Ok(Json(Keys { keys: app.state.keys(&user).await? }))
}

/// Get a value, or a range of its bytes.
#[utoipa::path(
    get,
    path = "/s/{user}/{key}",
    tag = "state",
    params(
        KeyPath,
        ("Range" = Option<String>, Header, pattern = "^bytes=([0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})$", description = "which bytes, such as `bytes=0-99`"),
    ),
    responses(
        (status = 200, description = "the value", body = Binary, content_type = "application/octet-stream"),
        (status = 206, description = "the range", body = Binary, content_type = "application/octet-stream"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such value", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 416, description = "the value has no such range", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    extract::State(app): extract::State<Arc<App>>,
    KeyPath { user, key }: KeyPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || state::Error::NoValue { user: user.clone(), key: key.clone() };
    let size = app.state.size(&user, &key).await?.ok_or_else(missing)?;
    let part = range::requested(headers.get(RANGE), size)?;
    let (status, bytes) = match part {
        Some(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
        None => (StatusCode::OK, 0..size),
    };
    let mut answer = HeaderMap::new();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    answer.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    if status == StatusCode::PARTIAL_CONTENT {
        answer.insert(CONTENT_RANGE, range::content_range(&bytes, size));
    }
    let body = stream_value(&app.state, user, key, bytes).await?;
    Ok((status, answer, body).into_response())
}

/// A part of a value, of which a chunk at a time is read. The first one is read here, so that what is wrong can still be said.
async fn stream_value(state: &State, user: String, key: String, bytes: Range<u64>) -> Result<Body, Problem> {
    let (first, rest) = chunk(state, &user, &key, bytes).await?;
    if rest.is_empty() {
        return Ok(Body::from(first));
    }
    let state = state.clone();
    let chunks = stream::unfold((Some(first), rest), move |(ready, rest)| {
        let (state, user, key) = (state.clone(), user.clone(), key.clone());
        async move {
            if let Some(ready) = ready {
                return Some((Ok(ready), (None, rest)));
            }
            if rest.is_empty() {
                return None;
            }
            match chunk(&state, &user, &key, rest).await {
                Ok((bytes, rest)) => Some((Ok(bytes), (None, rest))),
                // The connection is closed, so that the client knows that this is not all.
                Err(error) => Some((Err(error), (None, 0..0))),
            }
        }
    });
    Ok(Body::from_stream(chunks))
}

async fn chunk(
    state: &State,
    user: &str,
    key: &str,
    bytes: Range<u64>,
) -> Result<(Bytes, Range<u64>), state::Error> {
    let length = (bytes.end - bytes.start).min(CHUNK);
    let mut buffer = vec![0; length as usize];
    let read = state.read(user, key, bytes.start, &mut buffer).await?;
    if read < buffer.len() {
        return Err(state::Error::Changed { user: user.to_owned(), key: key.to_owned() });
    }
    Ok((buffer.into(), bytes.start + length..bytes.end))
}

/// Write a value, or a range of its bytes.
///
/// Without `Content-Range` the body becomes the value, whatever there was. With it the body is written into the value; if there is
/// none, one of the size that `Content-Range` names is made, with zeros around it. The answer says that it is stored for good.
#[utoipa::path(
    put,
    path = "/s/{user}/{key}",
    tag = "state",
    params(
        KeyPath,
        ("Content-Range" = Option<String>, Header, pattern = r"^bytes [0-9]{1,18}-[0-9]{1,18}/([0-9]{1,18}|\*)$", description = "where the body belongs, such as `bytes 0-99/1000`; `*` stands for the size that the value has"),
    ),
    request_body(content = Binary, content_type = "application/octet-stream", description = "the bytes"),
    responses(
        (status = 204, description = "it is stored"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such value, and its size was not said", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "the value has another size", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 416, description = "the value has no such range", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 507, description = "the user's quota is used up", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    extract::State(app): extract::State<Arc<App>>,
    KeyPath { user, key }: KeyPath,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let part = range::written(headers.get(CONTENT_RANGE))?;
    let received = body::read(&app, &headers, body).await?;
    // Two clients that replace a value by others of different sizes must not get in each other's way.
    let _turn = app.turns.of(&user, &key).lock().await;
    match part {
        None => app.state.replace(&user, &key, &received.bytes).await?,
        Some(part) => {
            check_length(part, received.bytes.len())?;
            app.state.write_at(&user, &key, part.start, &received.bytes, part.total).await?;
            app.state.push_partial(&user, &key).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn check_length(part: Part, length: usize) -> Result<(), Problem> {
    if part.length == length as u64 {
        return Ok(());
    }
    let detail = format!("Content-Range names {} bytes and the body has {length}", part.length);
    Err(Problem::bad_request("range", detail))
}

/// Delete a value, and the log of the same key.
#[utoipa::path(
    delete,
    path = "/s/{user}/{key}",
    tag = "state",
    params(KeyPath),
    responses(
        (status = 204, description = "there is none any more"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    extract::State(app): extract::State<Arc<App>>,
    KeyPath { user, key }: KeyPath,
) -> Result<StatusCode, Problem> {
    let _turn = app.turns.of(&user, &key).lock().await;
    app.state.delete(&user, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
