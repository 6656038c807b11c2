//! What goes wrong, as clients see it: RFC 9457's `application/problem+json`.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, wire};
use crate::call::{CallError, CallFailure};
use crate::registry::RegistryError;
use crate::state;

/// The media type of problems.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// What a problem's type begins with.
const TYPE: &str = "urn:faasm:problem:";

/// What went wrong with a request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// What kind of problem it is: `urn:faasm:problem:` and a stable name, such as `no-function` or `exception`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong, and where.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u64>,
    /// Python's traceback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// What a function wrote to standard output before it could not be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// What a function wrote to standard error before it could not be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
}

/// A problem on its way to the client. Boxed, because most results are none.
#[derive(Debug)]
pub(super) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    document: ProblemDocument,
    headers: HeaderMap,
    /// The import that failed, if that is what it is about.
    failed_load: Option<CallFailure>,
}

impl Problem {
    /// A problem of a kind, which has a stable name with hyphens.
    pub(super) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        let document = ProblemDocument {
            kind: format!("{TYPE}{kind}"),
            title: kind.replace('-', " "),
            status: status.as_u16(),
            detail: detail.into(),
            hint: None,
            call: None,
            traceback: None,
            stdout: None,
            stderr: None,
        };
        Self(Box::new(Inner { status, document, headers: HeaderMap::new(), failed_load: None }))
    }

    /// The request is not one that can be understood.
    pub(super) fn bad_request(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        let problem = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .hint("send a token as `Authorization: Bearer TOKEN`");
        problem.header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// There is no such version of a function.
    pub(super) fn no_version(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-version", detail)
    }

    /// The server cannot do it now, and may a little later.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).hint("try again later").retry_after(1)
    }

    /// A fault of this program.
    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// A sentence without a full stop.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.document.hint = Some(hint.into());
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    pub(super) fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    pub(super) fn call(mut self, id: u64) -> Self {
        self.0.document.call = Some(id);
        self
    }

    /// Why a call failed.
    pub(super) fn failed_call(failure: &CallFailure) -> Self {
        let error = &failure.error;
        let status = match error {
            CallError::Busy { .. } | CallError::NoRoom => return Self::busy(error.to_string()),
            CallError::Entry { .. } => StatusCode::NOT_FOUND,
            CallError::TimeLimit { .. } => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::of_call(status, error)
    }

    /// Why a function that was uploaded could not be imported: the client's fault.
    pub(super) fn refused_load(failure: CallFailure) -> Self {
        Self::failed_load(StatusCode::UNPROCESSABLE_ENTITY, failure)
    }

    /// Why a function of the store could not be loaded to be called.
    pub(super) fn stored(error: RegistryError) -> Self {
        match error {
            RegistryError::Runtime(error) => match *error {
                crate::Error::Load { source, .. } => {
                    let status = Self::failed_call(&source).status();
                    Self::failed_load(status, source)
                }
                error => error.into(),
            },
            error => error.into(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer, for who may want to know all about an import that failed.
    pub(super) fn into_answer(self, headers: &HeaderMap, app: &App) -> Response {
        match &self.0.failed_load {
            Some(failure) if wire::is_wanted(headers) => {
                let document = wire::CallResult::new(0, Err(failure.clone()));
                match wire::answer(&document, app) {
                    Ok(answer) => (self.0.status, answer).into_response(),
                    Err(problem) => problem.into_response(),
                }
            }
            _ => self.into_response(),
        }
    }

    fn failed_load(status: StatusCode, failure: CallFailure) -> Self {
        if let CallError::Busy { .. } = failure.error {
            return Self::busy(failure.error.to_string());
        }
        let mut problem = Self::of_call(status, &failure.error);
        let text = |bytes: &[u8]| (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned());
        let document = &mut problem.0.document;
        (document.stdout, document.stderr) = (text(&failure.stdout), text(&failure.stderr));
        problem.0.failed_load = Some(failure);
        problem
    }

    fn of_call(status: StatusCode, error: &CallError) -> Self {
        let (kind, text) = (error.kind(), wire::text(error));
        // The traceback is a member of its own.
        let detail = error.to_string();
        let detail = detail.strip_suffix(text.trim_end()).unwrap_or(&detail).trim_end();
        let mut problem = Self::new(status, kind, if detail.is_empty() { text } else { detail });
        problem.0.document.hint = error.hint();
        if matches!(
            error,
            CallError::Exception { .. } | CallError::Syntax { .. } | CallError::TimeLimit { .. }
        ) && !text.is_empty()
        {
            problem.0.document.traceback = Some(text.to_owned());
        }
        problem
    }
}

impl From<crate::Error> for Problem {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Load { source, .. } => Self::refused_load(source),
            crate::Error::Name { .. } => Self::bad_request("name", sentence(&error)),
            crate::Error::Package { .. } => {
                let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "package", sentence(&error));
                match error.hint() {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            }
            error => Self::internal(sentence(&error)),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = sentence(&error);
        match error {
            RegistryError::Runtime(error) => (*error).into(),
            RegistryError::NoFunction { .. } => Self::new(StatusCode::NOT_FOUND, "no-function", detail),
            RegistryError::NoVersion { .. } => Self::no_version(detail),
            RegistryError::Included { .. } => {
                let hint = "upload a version that is called in its place";
                Self::new(StatusCode::CONFLICT, "included", detail).hint(hint)
            }
            RegistryError::NoRuntime { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "runtime", detail),
            RegistryError::Reserved => Self::bad_request("name", detail),
            RegistryError::Bundle(error @ faasm_bundle::Error::Store { .. }) => {
                let hint = error.hint().unwrap_or_else(|| "try again later".to_owned());
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage", detail).hint(hint).retry_after(1)
            }
            RegistryError::Bundle(error @ faasm_bundle::Error::Location { .. }) => {
                Self::bad_request("bundle", detail).hint(error.hint().unwrap_or_default())
            }
            // Its file system is the server's own.
            RegistryError::Bundle(error) if !matches!(error, faasm_bundle::Error::Io { .. }) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bundle", detail)
                    .hint(error.hint().unwrap_or_else(|| "name another bundle".to_owned()))
            }
            _ => Self::internal(detail),
        }
    }
}

impl From<state::Error> for Problem {
    fn from(error: state::Error) -> Self {
        use state::Error;

        let (status, kind) = match error {
            Error::User { .. } => (StatusCode::BAD_REQUEST, "name"),
            Error::Key { .. } => (StatusCode::BAD_REQUEST, "key"),
            Error::NoValue { .. } => (StatusCode::NOT_FOUND, "no-value"),
            Error::SizeFixed { .. } | Error::Changed { .. } => (StatusCode::CONFLICT, "size"),
            Error::OutOfRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "range"),
            Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            Error::Quota { .. } => (StatusCode::INSUFFICIENT_STORAGE, "quota"),
            Error::LocalFull { .. } => return Self::busy(sentence(&error)),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let problem = Self::new(status, kind, sentence(&error));
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

/// An error and its causes as a sentence.
fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    // A transparent error says what its source says.
    texts.dedup();
    format!("failed to {}", texts.join(": "))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { status, document, mut headers, .. } = *self.0;
        if status == StatusCode::INTERNAL_SERVER_ERROR && document.kind.ends_with(":internal") {
            tracing::error!(target: "py_func::server", "{}", document.detail);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // Strings and numbers can always be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        (status, headers, body).into_response()
    }
}
