//! The server itself: whether it lives, what it counts, what it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use faasm_bundle::Location;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::registry::{RUNTIME_NAME, RegistryError, StoredRuntime};
use crate::server::access::Principal;
use crate::server::extract::FunctionPath;
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::upgrade::Wanted;
use crate::server::wire::Binary;
use crate::server::{App, body};

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
    /// The version of the bundle that it came in, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What tells runtimes of the store apart, if it is one: a SHA-256, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// When that was uploaded or fetched, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<u64>,
}

impl RuntimeDocument {
    pub(in crate::server) fn new(
        manifest: &faasm_image::Manifest,
        version: Option<String>,
        stored: Option<StoredRuntime>,
    ) -> Self {
        let stored = stored.as_ref();
        Self {
            python: manifest.python.clone(),
            wasm: manifest.wasm.sha256.clone(),
            version,
            sha256: stored.map(|it| it.sha256.clone()),
            uploaded: stored
                .map(|it| it.uploaded.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        }
    }

    /// The store's runtime, if it is one that was uploaded. Where its image lies is known on the server alone.
    pub fn into_stored(self) -> Option<StoredRuntime> {
        let uploaded = UNIX_EPOCH + Duration::from_secs(self.uploaded?);
        Some(StoredRuntime {
            image: PathBuf::new(),
            python: self.python,
            sha256: self.sha256?,
            uploaded,
            in_use: None,
        })
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
    Json(app.upgrades.running())
}

/// Which runtime functions are to run on: the one in a bundle, or the one before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpgradeDocument {
    /// Where the bundle is, for the server.
    #[serde(default)]
    bundle: Option<String>,
    /// Go back to the runtime before.
    #[serde(default)]
    rollback: bool,
    /// Go on when functions that are loaded cannot be loaded on it.
    #[serde(default)]
    force: bool,
}

/// Change what functions run on. Takes a token that is for all users.
///
/// The runtime is fetched and made ready, and what is loaded is loaded on it, which takes as long as it takes. Calls that begin after that run
/// on it; calls that have begun go on with what they have begun with.
#[utoipa::path(
    put,
    path = "/f",
    tag = "service",
    request_body(content = UpgradeDocument, content_type = "application/json"),
    responses(
        (status = 200, description = "functions run on it", body = RuntimeDocument),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "the token is not for all users", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "another upgrade is under way, or there is no runtime before", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "the bundle cannot be used, or functions cannot be loaded on it", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "the bundle or the storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn upgrade(
    State(app): State<Arc<App>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RuntimeDocument>, Problem> {
    principal.check_all()?;
    let received = body::read(&app, &headers, body).await?;
    let wrong =
        |reason: String| Problem::bad_request("upgrade", format!("the body says no runtime: {reason}"));
    let document: UpgradeDocument =
        serde_json::from_slice(&received.bytes).map_err(|error| wrong(error.to_string()))?;
    let wanted = match (document.bundle, document.rollback) {
        (Some(bundle), false) => {
            let location = Location::parse(&bundle).map_err(RegistryError::from)?;
            Wanted::Bundle(location, bundle)
        }
        (None, true) => Wanted::Previous,
        _ => return Err(wrong("it has either `bundle` or `rollback`".to_owned())),
    };
    change(app, wanted, document.force).await
}

/// Goes on when the client is gone.
async fn change(app: Arc<App>, wanted: Wanted, force: bool) -> Result<Json<RuntimeDocument>, Problem> {
    let changing = tokio::spawn(async move { app.upgrades.run(&app.functions, wanted, force).await });
    changing.await.unwrap_or_else(|_| Err(Problem::internal("the host panicked"))).map(Json)
}

/// Upload the runtime, under the name `py_func`.
///
/// The body is a bundle, as `cargo faasm package` makes it, or its `py_func.wasm` alone, which gets the library of the runtime before it. It is
/// compiled here, which takes a while; machine code in it is not used. Before the answer a function is called on it, and if that fails
/// it is not stored. Calls that begin after the answer run on it, those of all users; calls that have begun go on. Functions of a bundle
/// are added, unless the store has others of their names. Takes a token that is for all users.
#[utoipa::path(
    put,
    path = "/f/{user}/{function}",
    tag = "service",
    params(FunctionPath),
    request_body(content((Binary = "application/zstd"), (Binary = "application/wasm")), description = "a bundle, or a module"),
    responses(
        (status = 200, description = "it is used", body = RuntimeDocument),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "the token is not for all users", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "the runtime is being changed", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "it cannot be used as a runtime", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put_runtime(
    State(app): State<Arc<App>>,
    principal: Principal,
    FunctionPath { name, .. }: FunctionPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RuntimeDocument>, Problem> {
    principal.check_all()?;
    if name != RUNTIME_NAME {
        let detail = format!("a runtime has the name `{RUNTIME_NAME}`, and not {name:?}");
        return Err(
            Problem::bad_request("name", detail).hint("functions are uploaded to /p/{user}/{function}")
        );
    }
    let received = body::read(&app, &headers, body).await?;
    change(app, Wanted::Sent(received.bytes), true).await
}
