//! Results of calls as JSON, for clients that want all of them and not just the output.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::problem::Problem;
use super::{App, body};
use crate::call::{CallError, CallFailure, Output, Usage};

/// The media type of a [`CallResult`]. Who asks for it with `Accept` gets it in place of the output.
pub const RESULT_JSON: &str = "application/vnd.faasm.result+json";

/// How a call ended, with all that it has left.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallResult {
    /// The call.
    pub id: u64,
    /// The status that it returned, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// What ended it, if it did not return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDocument>,
    /// Its output.
    pub output: Data,
    /// What it wrote to standard output.
    pub stdout: Data,
    /// What it wrote to standard error.
    pub stderr: Data,
    /// What it took.
    pub usage: UsageDocument,
}

/// What ended a call.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorDocument {
    /// The stable name of what ended it: `exception`, `syntax`, `entry`, `result`, `time-limit`, `memory-limit`, `output-limit`,
    /// `no-room`, `stack-limit`, `busy` or `fault`.
    pub kind: String,
    /// The error in words, with the traceback if there is one.
    pub message: String,
    /// The traceback, or what else the guest says about it.
    pub text: String,
    /// The limit that was reached, in seconds, bytes or calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// The user whose limit it is, if it is not that of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What a call took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageDocument {
    /// How long it took, in seconds.
    pub wall_time_seconds: f64,
    /// How long threads computed for it, in seconds.
    pub cpu_time_seconds: f64,
    /// The size of its memory at the end, in bytes.
    pub memory_bytes: u64,
    /// How much of that it had for itself, where that was counted.
    pub own_memory_bytes: Option<u64>,
    /// How many bytes of state it read.
    pub state_read_bytes: u64,
    /// How many bytes of state it wrote.
    pub state_written_bytes: u64,
    /// How many bytes it left: its output, standard output and standard error.
    pub output_bytes: u64,
    /// How many calls it started.
    pub chained_calls: u32,
}

/// A body of any bytes, for descriptions.
pub(super) struct Binary;

/// Bytes. In JSON a string, or, if they are not UTF-8, an object with their Base64 form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data(pub Vec<u8>);

impl CallResult {
    /// As JSON can say it.
    pub fn new(id: u64, result: Result<Output, CallFailure>) -> Self {
        let (status, error, output, stdout, stderr, usage) = match result {
            Ok(Output { status, output, stdout, stderr, usage }) => {
                (Some(status), None, output, stdout, stderr, usage)
            }
            Err(CallFailure { error, stdout, stderr, usage }) => {
                (None, Some(ErrorDocument::new(&error)), Vec::new(), stdout, stderr, usage)
            }
        };
        let [output, stdout, stderr] = [output, stdout, stderr].map(Data);
        Self { id, status, error, output, stdout, stderr, usage: usage.into() }
    }

    /// The result as it was where the call was made.
    ///
    /// # Errors
    ///
    /// When the call did not return.
    pub fn into_result(self) -> Result<Output, CallFailure> {
        let (stdout, stderr, usage) = (self.stdout.0, self.stderr.0, self.usage.into());
        match self.error {
            None => {
                Ok(Output { status: self.status.unwrap_or(0), output: self.output.0, stdout, stderr, usage })
            }
            Some(error) => Err(CallFailure { error: error.into(), stdout, stderr, usage }),
        }
    }
}

/// Whether a client asks for a [`CallResult`].
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = ranges.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case(RESULT_JSON))
}

/// A result as an answer, if there is room for it.
pub(super) fn answer(document: &CallResult, app: &App) -> Result<Response, Problem> {
    let kind = HeaderValue::from_static(RESULT_JSON);
    Ok(([(CONTENT_TYPE, kind)], body::json(document, app)?).into_response())
}

/// What the guest says about what ended a call.
pub(super) fn text(error: &CallError) -> &str {
    match error {
        CallError::Exception { traceback: text }
        | CallError::Syntax { text }
        | CallError::Entry { text }
        | CallError::Result { text }
        | CallError::TimeLimit { text, .. }
        | CallError::MemoryLimit { text, .. }
        | CallError::Fault { reason: text } => text,
        CallError::OutputLimit { .. }
        | CallError::NoRoom
        | CallError::StackLimit
        | CallError::Busy { .. } => "",
    }
}

impl ErrorDocument {
    pub(super) fn new(error: &CallError) -> Self {
        let limit = match error {
            CallError::TimeLimit { limit, .. } => Some(limit.as_secs_f64()),
            CallError::MemoryLimit { limit, .. }
            | CallError::OutputLimit { limit }
            | CallError::Busy { limit, .. } => Some(*limit as f64),
            _ => None,
        };
        let user = match error {
            CallError::Busy { user, .. } => user.clone(),
            _ => None,
        };
        let (kind, text) = (error.kind().to_owned(), text(error).to_owned());
        Self { kind, message: error.to_string(), text, limit, user }
    }
}

impl From<ErrorDocument> for CallError {
    fn from(error: ErrorDocument) -> Self {
        let ErrorDocument { kind, message, text, limit, user } = error;
        let limit = limit.unwrap_or_default();
        let count = limit as usize;
        match kind.as_str() {
            "exception" => Self::Exception { traceback: text },
            "syntax" => Self::Syntax { text },
            "entry" => Self::Entry { text },
            "result" => Self::Result { text },
            "time-limit" => Self::TimeLimit { limit: seconds(limit), text },
            "memory-limit" => Self::MemoryLimit { limit: count, text },
            "output-limit" => Self::OutputLimit { limit: count },
            "no-room" => Self::NoRoom,
            "stack-limit" => Self::StackLimit,
            "busy" => Self::Busy { limit: count, user },
            "fault" => Self::Fault { reason: text },
            // From a newer server.
            _ => Self::Fault { reason: message },
        }
    }
}

impl From<Usage> for UsageDocument {
    fn from(usage: Usage) -> Self {
        Self {
            wall_time_seconds: usage.wall_time.as_secs_f64(),
            memory_bytes: usage.memory as u64,
            cpu_time_seconds: usage.cpu_time.as_secs_f64(),
            own_memory_bytes: usage.own_memory.map(|it| it as u64),
            state_read_bytes: usage.state_read,
            state_written_bytes: usage.state_written,
            output_bytes: usage.output as u64,
            chained_calls: usage.chained_calls,
        }
    }
}

impl From<UsageDocument> for Usage {
    fn from(usage: UsageDocument) -> Self {
        Self {
            wall_time: seconds(usage.wall_time_seconds),
            memory: usage.memory_bytes as usize,
            cpu_time: seconds(usage.cpu_time_seconds),
            own_memory: usage.own_memory_bytes.map(|it| it as usize),
            state_read: usage.state_read_bytes,
            state_written: usage.state_written_bytes,
            output: usage.output_bytes as usize,
            chained_calls: usage.chained_calls,
        }
    }
}

/// What no number of seconds is becomes zero.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum DataDocument<'a> {
    Text(Cow<'a, str>),
    Base64 { base64: Cow<'a, str> },
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = match std::str::from_utf8(&self.0) {
            Ok(text) => DataDocument::Text(text.into()),
            Err(_) => DataDocument::Base64 { base64: BASE64_STANDARD.encode(&self.0).into() },
        };
        document.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match DataDocument::deserialize(deserializer)? {
            DataDocument::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            DataDocument::Base64 { base64 } => {
                BASE64_STANDARD.decode(&*base64).map(Self).map_err(serde::de::Error::custom)
            }
        }
    }
}

impl utoipa::PartialSchema for Binary {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};

        let binary = ObjectBuilder::new().schema_type(Type::String);
        binary.format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).into()
    }
}

impl ToSchema for Binary {}

impl utoipa::PartialSchema for Data {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};

        let text = || ObjectBuilder::new().schema_type(Type::String);
        let base64 = ObjectBuilder::new().property("base64", text()).required("base64");
        let either = OneOfBuilder::new().item(text()).item(base64);
        either.description(Some("bytes: a string, or their Base64 form if they are not UTF-8")).into()
    }
}

impl ToSchema for Data {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_survive_json() {
        let usage = Usage {
            wall_time: Duration::from_micros(7),
            cpu_time: Duration::from_micros(6),
            memory: 1 << 20,
            own_memory: Some(4096),
            state_read: 1,
            state_written: 2,
            output: 3,
            chained_calls: 4,
        };
        let returned =
            Output { status: -3, output: vec![0, 255], stdout: "é".into(), stderr: Vec::new(), usage };
        let text = || "text".to_owned();
        let errors = [
            CallError::Exception { traceback: text() },
            CallError::Syntax { text: text() },
            CallError::Entry { text: text() },
            CallError::Result { text: text() },
            CallError::TimeLimit { limit: Duration::from_millis(1500), text: text() },
            CallError::MemoryLimit { limit: 5, text: text() },
            CallError::OutputLimit { limit: 6 },
            CallError::NoRoom,
            CallError::StackLimit,
            CallError::Busy { limit: 7, user: None },
            CallError::Busy { limit: 8, user: Some("a".to_owned()) },
            CallError::Fault { reason: text() },
        ];
        let failures = errors.map(|error| CallFailure { error, stdout: vec![1], stderr: vec![200], usage });
        for result in std::iter::once(Ok(returned)).chain(failures.map(Err)) {
            let json = serde_json::to_string(&CallResult::new(1, result.clone())).unwrap();
            let back: CallResult = serde_json::from_str(&json).unwrap();
            assert_eq!(back.into_result(), result, "{json}");
        }
    }
}
