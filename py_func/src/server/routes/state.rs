//! State over HTTP: what the functions of this server see, and durable when it is answered.

use std::sync::Arc;

use axum::body::Body;
use axum::extract;
use axum::http::header::CONTENT_RANGE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server::App;
use crate::server::body;
use crate::server::extract::{KeyPath, UserPath};
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::range::{self, Part};
use crate::server::wire::Binary;
use crate::state;

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
    let (status, answer, bytes) = range::answer(&headers, size)?;
    let state = app.state.clone();
    let body = body::in_chunks(bytes, move |bytes| {
        let (state, user, key) = (state.clone(), user.clone(), key.clone());
        async move {
            let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
            let read = state.read(&user, &key, bytes.start, &mut buffer).await?;
            if read < buffer.len() {
                return Err(state::Error::Changed { user, key }.into());
            }
            Ok(buffer)
        }
    });
    Ok((status, answer, body.await?).into_response())
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
