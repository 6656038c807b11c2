//! What handlers take out of requests, checked.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::MapDeserializer;

use utoipa::IntoParams;

use super::App;
use super::access::Principal;
use super::problem::Problem;
use crate::function::is_valid_name;

/// The user in a path, for whom the client may act.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct UserPath {
    /// Whose state or files.
    #[param(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$")]
    pub(super) user: String,
}

/// User and function in a path. The client may act for the user.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct FunctionPath {
    /// Whose function.
    #[param(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$")]
    pub(super) user: String,
    /// Which function.
    #[serde(rename = "function")]
    #[param(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$")]
    pub(super) name: String,
}

/// User and key in a path. The client may act for the user; state itself checks keys.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct KeyPath {
    /// Whose state.
    #[param(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$")]
    pub(super) user: String,
    /// Which value: 1 to 512 bytes of UTF-8.
    #[param(min_length = 1, max_length = 512)]
    pub(super) key: String,
}

/// User and file in a path. The client may act for the user.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct FilePath {
    /// Whose file.
    #[param(pattern = "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$")]
    pub(super) user: String,
    /// Which file: names of folders and of the file, with `/` between them.
    #[param(value_type = String, min_length = 1, max_length = 1024)]
    pub(super) path: PathBuf,
}

/// The number of a call in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct CallPath {
    /// Which call.
    pub(super) id: u64,
}

/// The part of an address after the question mark.
pub(super) struct Query<T>(pub(super) T);

impl FromRequestParts<Arc<App>> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path: Self = path(parts, app).await?;
        check_user(parts, &path.user)?;
        Ok(path)
    }
}

impl FromRequestParts<Arc<App>> for FunctionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path: Self = path(parts, app).await?;
        check_user(parts, &path.user)?;
        check_name(&path.name)?;
        Ok(path)
    }
}

impl FromRequestParts<Arc<App>> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path: Self = path(parts, app).await?;
        check_user(parts, &path.user)?;
        Ok(path)
    }
}

impl FromRequestParts<Arc<App>> for FilePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let (user, path): (String, String) = path(parts, app).await?;
        check_user(parts, &user)?;
        Ok(Self { user, path: super::routes::clean_path(&path)? })
    }
}

impl FromRequestParts<Arc<App>> for CallPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        path(parts, app).await
    }
}

impl FromRequestParts<Arc<App>> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        principal(parts).cloned()
    }
}

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

impl<T: DeserializeOwned> Query<T> {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let query = T::deserialize(MapDeserializer::<_, serde::de::value::Error>::new(pairs));
        query.map(Self).map_err(|error| Problem::bad_request("query", error.to_string()))
    }
}

/// Fails for names that nothing can have.
pub(super) fn check_name(name: &str) -> Result<(), Problem> {
    if is_valid_name(name) { Ok(()) } else { Err(crate::Error::Name { name: name.to_owned() }.into()) }
}

fn check_user(parts: &Parts, user: &str) -> Result<(), Problem> {
    check_name(user)?;
    principal(parts)?.check(user)
}

/// The guard has put it there, for every route that asks for it.
fn principal(parts: &Parts) -> Result<&Principal, Problem> {
    parts.extensions.get().ok_or_else(|| Problem::internal("the request was not checked"))
}

async fn path<T: DeserializeOwned + Send>(parts: &mut Parts, app: &Arc<App>) -> Result<T, Problem> {
    let path: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, app).await;
    path.map(|it| it.0).map_err(|error| Problem::bad_request("path", error.body_text()))
}

/// A word that may be left out: `?async`, `?async=true`.
pub(super) fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(serde::de::Error::custom(format!("{other:?} is neither true nor false"))),
    }
}

/// A number of seconds. Whatever is longer than a human life is as long.
pub(super) fn seconds<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    const LONG: f64 = 3e9;
    let seconds = parsed::<f64, D>(deserializer)?.unwrap_or_default();
    let duration = Duration::try_from_secs_f64(seconds.min(LONG)).ok().filter(|_| !seconds.is_nan());
    duration
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("{seconds} seconds is no length of time")))
}

/// A text, or what a text says, such as a number.
pub(super) fn parsed<'de, T: FromStr, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is not what belongs there")))
}
