//! JSON as the body of an answer.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An answer in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // Strings, numbers, and structures of these can always be written.
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
    }
}
