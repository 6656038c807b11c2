//! The server itself: whether it lives, what it counts, what it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::registry::StoredRuntime;
use crate::server::App;
use crate::server::access::Principal;
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};

/// Say that the server lives.
#[utoipa::path(get, path = "/healthz", tag = "service", responses((status = 200, description = "it does", body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Say whether requests should be sent here.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    responses(
        (status = 200, description = "they should", body = String),
        (status = 503, description = "they should not: it is shutting down", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.shutting_down.load(Ordering::Relaxed) {
        return Err(Problem::busy("the server is shutting down"));
    }
    Ok("ready\n")
}

/// Show what the server counts, in the text format of Prometheus. Takes a token that is for all users.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    responses(
        (status = 200, description = "the metrics", body = String, content_type = "text/plain"),
        (status = 403, description = "the token is not for all users", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(State(app): State<Arc<App>>, principal: Principal) -> Result<Response, Problem> {
    principal.check_all()?;
    let text = app.render_metrics();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Forget what is loaded: functions are loaded anew from the store, and state that was pushed is fetched anew. Takes a token that is
/// for all users.
#[utoipa::path(
    post,
    path = "/flush",
    tag = "service",
    responses(
        (status = 204, description = "it is forgotten"),
        (status = 403, description = "the token is not for all users", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "the storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn flush(State(app): State<Arc<App>>, principal: Principal) -> Result<StatusCode, Problem> {
    principal.check_all()?;
    app.flush().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The runtime that functions run on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RuntimeDocument {
    /// The version of Python.
    pub python: String,
    /// The SHA-256 of the WebAssembly module, in hexadecimal.
    pub wasm: String,
    /// The SHA-256 of the manifest of the store's runtime, in hexadecimal, if one was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When that was uploaded, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<u64>,
}

impl RuntimeDocument {
    /// The store's runtime, if it is one that was uploaded. Where its image lies is known on the server alone.
    pub fn into_stored(self) -> Option<StoredRuntime> {
        let uploaded = UNIX_EPOCH + Duration::from_secs(self.uploaded?);
        Some(StoredRuntime { image: PathBuf::new(), python: self.python, sha256: self.sha256?, uploaded })
    }
}

/// Say what functions run on.
#[utoipa::path(
    get,
    path = "/f",
    tag = "service",
    responses((status = 200, description = "the runtime", body = RuntimeDocument))
)]
pub(super) async fn runtime(State(app): State<Arc<App>>) -> Json<RuntimeDocument> {
    let manifest = app.runtime.manifest();
    let stored = app.stored_runtime.as_ref();
    Json(RuntimeDocument {
        python: manifest.python.clone(),
        wasm: manifest.wasm.sha256.clone(),
        sha256: stored.map(|it| it.sha256.clone()),
        uploaded: stored.map(|it| it.uploaded.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())),
    })
}
