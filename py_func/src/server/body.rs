//! Bodies of requests and answers: bounded in size, in time, and in what all of them take of the memory.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::stream;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::App;
use super::budget::{Budget, Held, Reserved, counted};
use super::problem::Problem;
use super::settings::Limits;

/// So many bytes of a body buy another second for the rest of it.
pub(super) const BYTES_PER_SECOND: u64 = 64 << 10;

/// How much of something that is read while it is sent is in memory, in bytes.
const CHUNK: u64 = 256 << 10;

/// How much of an output is freed at a time while it is sent, in bytes.
const PART: usize = 1 << 20;

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
    // What is announced and does not come is never touched, and costs nothing; unless the system counts it all the same.
    if received.bytes.try_reserve_exact(announced).is_err() {
        return Err(Problem::busy("there is no memory for the body"));
    }
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
        let before = received.bytes.len();
        let size = before + data.len();
        if size > limit {
            return Err(too_large(limit));
        }
        if !app.budget.extend(&mut received.reserved, counted(size) - counted(before)) {
            return Err(no_room());
        }
        received.bytes.extend_from_slice(&data);
    }
}

/// Lets a request go on to its handler, and answers a hold on what the handler leaves of its body.
pub(super) fn share(request: Request) -> (Request, Rest) {
    if request.body().is_end_stream() {
        return (request, Rest(None));
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let mut shared = None;
    let request = request.map(|body| {
        let body = Arc::new(Mutex::new(Shared { body, begun: !waits }));
        shared = Some(Arc::clone(&body));
        Body::new(Sharing(body))
    });
    (request, Rest(shared))
}

/// What a handler has left of a body.
pub(super) struct Rest(Option<Arc<Mutex<Shared>>>);

impl Rest {
    /// Reads and forgets it, up to some size and for some time. Many clients read an answer when they have sent all, and never see one
    /// that came before with the end of the connection. Those that wait to be told to go on are just not told.
    pub(super) async fn skip(self, limits: &Limits) {
        let Some(shared) = self.0 else { return };
        if !locked(&shared).begun {
            return;
        }
        let mut body = Sharing(shared);
        let mut left = limits.body;
        let skip = async {
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(rest) = left.checked_sub(length) else { return };
                left = rest;
            }
        };
        // Whoever takes longer has had long enough.
        let _ = timeout(limits.body_timeout, skip).await;
    }
}

pub(super) struct Shared {
    body: Body,
    /// Whether the client sends it, as far as we know.
    begun: bool,
}

struct Sharing(Arc<Mutex<Shared>>);

impl http_body::Body for Sharing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut shared = locked(&self.0);
        shared.begun = true;
        Pin::new(&mut shared.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        locked(&self.0).body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        locked(&self.0).body.size_hint()
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body that counts until it was sent, if there is room for it.
pub(super) fn of(bytes: Vec<u8>, app: &App) -> Result<Body, Problem> {
    let mut written = Written::new(&app.budget);
    if !written.reserve(bytes.len()) {
        return Err(no_room());
    }
    Ok(Written { bytes, ..written }.into_body())
}

/// A JSON document as such a body.
pub(super) fn json(document: &impl Serialize, app: &App) -> Result<Body, Problem> {
    let mut written = Written::new(&app.budget);
    // Strings and numbers can always be written, where there is room for them.
    serde_json::to_writer(&mut written, document).map_err(|_| no_room())?;
    Ok(written.into_body())
}

/// The output of a call, which counts as what is left of it. What was sent is freed.
pub(super) fn output(bytes: Vec<u8>, held: Arc<Held>) -> Body {
    if counted(bytes.len()) == 0 {
        return Body::from(bytes);
    }
    Body::new(Output { left: bytes.len() as u64, parts: split(bytes), held })
}

/// The parts of some bytes, the last one first. At any time there is at most one part in memory twice.
fn split(mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let mut parts = Vec::with_capacity(bytes.len() / PART + 1);
    while bytes.len() > PART {
        parts.push(bytes.split_off((bytes.len() - 1) / PART * PART));
        bytes.shrink_to_fit();
    }
    parts.push(bytes);
    parts
}

struct Output {
    /// The last one first.
    parts: Vec<Vec<u8>>,
    left: u64,
    held: Arc<Held>,
}

impl http_body::Body for Output {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(part) = self.parts.pop() else { return Poll::Ready(None) };
        self.left -= part.len() as u64;
        // What the connection has not sent yet is one or two parts, which do not count any more.
        self.held.shrink(part.len());
        Poll::Ready(Some(Ok(Frame::data(part.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Some bytes of something, of which `read` answers a chunk at a time, and all of it. The first one is read here, so that what is wrong can
/// still be said.
pub(super) async fn in_chunks<R>(
    bytes: Range<u64>,
    read: impl Fn(Range<u64>) -> R + Send + 'static,
) -> Result<Body, Problem>
where
    R: Future<Output = Result<Vec<u8>, Problem>> + Send + 'static,
{
    let split = |bytes: Range<u64>| {
        let middle = bytes.end.min(bytes.start.saturating_add(CHUNK));
        (bytes.start..middle, middle..bytes.end)
    };
    let (first, rest) = split(bytes);
    let first = Bytes::from(read(first).await?);
    if rest.is_empty() {
        return Ok(Body::from(first));
    }
    let chunks = stream::try_unfold((Some(first), rest, read), move |(ready, rest, read)| async move {
        if let Some(ready) = ready {
            return Ok::<_, &str>(Some((ready, (None, rest, read))));
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let (next, rest) = split(rest);
        // An error closes the connection, so that the client knows that this is not all.
        let next = read(next).await.map_err(|_| "the rest cannot be read")?;
        Ok(Some((Bytes::from(next), (None, rest, read))))
    });
    Ok(Body::from_stream(chunks))
}

/// Bytes that are written, and count if they are many.
struct Written<'a> {
    bytes: Vec<u8>,
    budget: &'a Budget,
    reserved: Reserved,
    /// For how many bytes there is room.
    room: usize,
}

impl<'a> Written<'a> {
    fn new(budget: &'a Budget) -> Self {
        Self { bytes: Vec::new(), budget, reserved: budget.empty(), room: 0 }
    }

    /// Has so many bytes in all counted.
    fn reserve(&mut self, size: usize) -> bool {
        let fits = self.budget.extend(&mut self.reserved, counted(size) - counted(self.room));
        self.room = if fits { size } else { self.room };
        fits
    }

    fn into_body(self) -> Body {
        Body::from(Bytes::from_owner(Sent { bytes: self.bytes, _reserved: self.reserved }))
    }
}

impl io::Write for Written<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.bytes.len() + bytes.len();
        // Texts are written in many small pieces, for which there is room in advance if they are to be counted.
        let room = if counted(size) == 0 { size } else { size.next_multiple_of(CHUNK as usize) };
        if size > self.room && !self.reserve(room) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Sent {
    bytes: Vec<u8>,
    _reserved: Reserved,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn no_room() -> Problem {
    Problem::busy("bodies of other requests and answers take all the memory that there is for them")
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than the {limit} bytes that are allowed");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_whole() {
        for (size, count) in [(0, 1), (1, 1), (PART, 1), (PART + 1, 2), (3 * PART, 3), (3 * PART + 5, 4)] {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let parts = split(bytes.clone());
            assert_eq!(parts.len(), count, "{size}");
            let joined: Vec<u8> = parts.into_iter().rev().flatten().collect();
            assert!(joined == bytes, "{size}");
        }
    }
}
