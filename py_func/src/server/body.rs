//! Bodies of requests and answers: bounded in size, in time, and in what all of them take of the memory.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::budget::Reserved;
use super::problem::Problem;

/// Bodies up to this size are not counted: connections are.
const SMALL: usize = 64 << 10;

/// So many bytes of a body buy another second for the rest of it.
const BYTES_PER_SECOND: u64 = 64 << 10;

/// A body that has arrived, and its part of the memory for bodies.
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) reserved: Reserved,
}

/// Reads a body. Nothing of it is read when its announced length is too much.
pub(super) async fn read(app: &App, headers: &HeaderMap, mut body: Body) -> Result<Received, Problem> {
    let limit = app.limits.body;
    let announced = match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str().ok().and_then(|it| it.parse::<usize>().ok()).unwrap_or(0),
        None => 0,
    };
    if announced > limit {
        return Err(too_large(limit));
    }
    let mut received = Received { bytes: Vec::new(), reserved: app.budget.empty() };
    if body.is_end_stream() {
        return Ok(received);
    }
    // What is announced and does not come is never touched, and costs nothing.
    received.bytes.reserve_exact(announced);
    let started = Instant::now();
    loop {
        let earned = Duration::from_secs(received.bytes.len() as u64 / BYTES_PER_SECOND);
        let patience = app.limits.body_timeout;
        let deadline = (Instant::now() + patience).min(started + patience + earned);
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => {
                let detail = "the body did not arrive in time";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", detail));
            }
            Ok(None) => return Ok(received),
            Ok(Some(Err(error))) => {
                return Err(Problem::bad_request("body", format!("the body is cut off: {error}")));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing to us.
        let Ok(data) = frame.into_data() else { continue };
        let size = received.bytes.len() + data.len();
        if size > limit {
            return Err(too_large(limit));
        }
        if size > SMALL && !app.budget.extend(&mut received.reserved, data.len()) {
            return Err(Problem::busy("bodies of other requests take all the memory that there is for them"));
        }
        received.bytes.extend_from_slice(&data);
    }
}

/// A body that counts as held until it was sent.
pub(super) fn held(bytes: Vec<u8>, app: &App) -> Body {
    if bytes.len() <= SMALL {
        return Body::from(bytes);
    }
    let reserved = app.budget.account(bytes.len());
    Body::from(Bytes::from_owner(Held { bytes, _reserved: reserved }))
}

struct Held {
    bytes: Vec<u8>,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than the {limit} bytes that are allowed");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}
