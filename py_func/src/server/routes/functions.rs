//! Storing functions.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::registry::StoredFunction;
use crate::server::App;
use crate::server::access::Principal;
use crate::server::body;
use crate::server::extract::{self, FunctionPath, Query};
use crate::server::json::Json;
use crate::server::problem::{Problem, ProblemDocument};
use crate::server::wire::Binary;

/// A function of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionDocument {
    /// Whose function it is.
    pub user: String,
    /// Its name.
    pub function: String,
    /// Whether it is a package, and not a single module.
    #[serde(default)]
    pub is_package: bool,
    /// The size of what was uploaded, in bytes.
    pub bytes: u64,
    /// The SHA-256 of what was uploaded, in hexadecimal.
    pub sha256: String,
    /// The name of this version: the first 16 digits of that.
    #[serde(default)]
    pub version: String,
    /// When it was uploaded, in seconds since 1970.
    pub uploaded: u64,
}

impl From<StoredFunction> for FunctionDocument {
    fn from(stored: StoredFunction) -> Self {
        let version = stored.version().to_owned();
        let StoredFunction { user, name, is_package, bytes, sha256, uploaded } = stored;
        let uploaded = uploaded.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
        Self { user, function: name, is_package, bytes, sha256, version, uploaded }
    }
}

impl From<FunctionDocument> for StoredFunction {
    fn from(document: FunctionDocument) -> Self {
        let FunctionDocument { user, function: name, is_package, bytes, sha256, uploaded, .. } = document;
        Self { user, name, is_package, bytes, sha256, uploaded: UNIX_EPOCH + Duration::from_secs(uploaded) }
    }
}

/// Which functions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those of this user alone.
    #[serde(default, deserialize_with = "extract::parsed")]
    user: Option<String>,
}

/// Which version.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfVersion {
    /// The first 16 digits of its SHA-256.
    #[serde(default, deserialize_with = "extract::parsed")]
    #[param(pattern = "^[0-9a-f]{16}$")]
    version: Option<String>,
}

/// List the functions that the client may see.
#[utoipa::path(
    get,
    path = "/p",
    tag = "functions",
    params(Which),
    responses(
        (status = 200, description = "the functions, by user and name", body = Vec<FunctionDocument>),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "the storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    principal: Principal,
    Query(which): Query<Which>,
) -> Result<Json<Vec<FunctionDocument>>, Problem> {
    let wanted = |it: &StoredFunction| {
        principal.may_see(&it.user) && which.user.as_ref().is_none_or(|user| *user == it.user)
    };
    let functions = app.functions.list().await?;
    Ok(Json(functions.into_iter().filter(wanted).map(Into::into).collect()))
}

/// Get what was uploaded as a function, the last time or as an earlier version.
#[utoipa::path(
    get,
    path = "/p/{user}/{function}",
    tag = "functions",
    params(FunctionPath, OfVersion),
    responses(
        (status = 200, description = "the source, or the archive; `ETag` is its SHA-256", content(
            (Binary = "text/x-python"),
            (Binary = "application/octet-stream"),
        )),
        (status = 304, description = "the client has it already"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such function or version", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "the storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    FunctionPath { user, name }: FunctionPath,
    Query(OfVersion { version }): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let stored = match &version {
        None => app.functions.stored(&user, &name).await?,
        Some(version) => {
            let versions = app.functions.versions(user.clone(), name.clone()).await?;
            let missing = || Problem::no_version(format!("no version {version} of {user}/{name} is kept"));
            versions.into_iter().find(|it| it.version() == version).ok_or_else(missing)?
        }
    };
    let tag = tag(&stored.sha256);
    if headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let source = app.functions.source(user, name, version).await?;
    let modified = httpdate::fmt_http_date(stored.uploaded);
    let kind = match stored.is_package {
        true => HeaderValue::from_static("application/octet-stream"),
        false => HeaderValue::from_static("text/x-python; charset=utf-8"),
    };
    let headers = [(CONTENT_TYPE, kind), (ETAG, tag)];
    Ok((headers, [(LAST_MODIFIED, modified)], body::of(source, &app)?).into_response())
}

/// List the versions of a function that are kept: the one that is called, and those before it, the last one first.
#[utoipa::path(
    get,
    path = "/p/{user}/{function}/versions",
    tag = "functions",
    params(FunctionPath),
    responses(
        (status = 200, description = "the versions", body = Vec<FunctionDocument>),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such function", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "the storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn versions(
    State(app): State<Arc<App>>,
    FunctionPath { user, name }: FunctionPath,
) -> Result<Json<Vec<FunctionDocument>>, Problem> {
    Ok(Json(app.functions.versions(user, name).await?.into_iter().map(Into::into).collect()))
}

/// Go back to an earlier version of a function, or else to the one before this one.
///
/// It is loaded before the answer, as if it was uploaded again, and is the last version from then on.
#[utoipa::path(
    post,
    path = "/p/{user}/{function}/rollback",
    tag = "functions",
    params(FunctionPath, OfVersion),
    responses(
        (status = 200, description = "it is the version that is called now", body = FunctionDocument),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such function or version", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "it cannot be loaded any more", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rollback(
    State(app): State<Arc<App>>,
    FunctionPath { user, name }: FunctionPath,
    Query(OfVersion { version }): Query<OfVersion>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(match app.functions.roll_back(user, name, version).await {
        Ok(stored) => ([(ETAG, tag(&stored.sha256))], Json(FunctionDocument::from(stored))).into_response(),
        Err(problem) => problem.into_answer(&headers, &app),
    })
}

/// Upload a function.
///
/// The body is its Python source, or a zip, tar or tar.gz archive of a package; which it is, its bytes tell. It is loaded before the answer, and not stored if that fails. Calls that begin after the answer run
/// it; calls that have begun go on with what they have begun with.
#[utoipa::path(
    put,
    path = "/p/{user}/{function}",
    tag = "functions",
    params(FunctionPath),
    request_body(content((Binary = "text/x-python"), (Binary = "application/octet-stream")), description = "the source, or an archive"),
    responses(
        (status = 200, description = "it has replaced another one", body = FunctionDocument),
        (status = 201, description = "it is new", body = FunctionDocument),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 408, description = "the body did not arrive in time", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "the body is too large", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 422, description = "it cannot be unpacked or loaded", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "too much is going on", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    FunctionPath { user, name }: FunctionPath,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    // Before the body is sent.
    crate::registry::check_function_name(&user, &name)?;
    let received = body::read(&app, &headers, body).await?;
    let (stored, new) = match app.functions.upload(user, name, received.bytes).await {
        Ok(uploaded) => uploaded,
        Err(problem) => return Ok(problem.into_answer(&headers, &app)),
    };
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(ETAG, tag(&stored.sha256))], Json(FunctionDocument::from(stored))).into_response())
}

/// Delete a function.
#[utoipa::path(
    delete,
    path = "/p/{user}/{function}",
    tag = "functions",
    params(FunctionPath),
    responses(
        (status = 204, description = "it is gone; calls that have begun go on"),
        (status = 400, description = "the request cannot be understood", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "there is no such function", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 409, description = "it was not uploaded: the server comes with it", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "the storage cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    FunctionPath { user, name }: FunctionPath,
) -> Result<StatusCode, Problem> {
    app.functions.remove(user, name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whether one of the tags of `If-None-Match` is this one, as weak tags are compared (RFC 9110, section 13.1.2).
fn names(value: &HeaderValue, tag: &HeaderValue) -> bool {
    let mut tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag)
}

fn tag(sha256: &str) -> HeaderValue {
    // Hexadecimal digits are a valid header.
    HeaderValue::from_str(&format!("\"{sha256}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}
