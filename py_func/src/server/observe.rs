//! What is said about each request: the access log, metrics, and the trace it belongs to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;

use super::App;
use super::access::Peer;
use super::body;
use super::problem::Problem;

/// Nothing in an answer may run, whatever a browser takes it for.
const ISOLATED: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// The number of a trace, as in W3C Trace Context: 32 hexadecimal digits.
#[derive(Clone)]
pub(super) struct Trace(pub(super) String);

/// Answers a request, whatever happens, and says how it went.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let trace = trace(request.headers());
    request.extensions_mut().insert(Trace(trace.clone()));

    let (request, rest) = body::share(request);

    app.in_flight.increment(1.0);
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    app.in_flight.decrement(1.0);
    let mut response = answered.unwrap_or_else(|_| Problem::internal("the host panicked").into_response());
    if response.status().is_client_error() || response.status().is_server_error() {
        rest.skip(&app.limits).await;
    }
    // What functions answer must not become a page of this origin.
    response.headers_mut().entry(CONTENT_SECURITY_POLICY).or_insert(ISOLATED);
    response.headers_mut().entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));

    let (status, seconds) = (response.status(), started.elapsed().as_secs_f64());
    // Of addresses that are no routes there can be any number.
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    metrics::histogram!("faasm_http_request_duration_seconds", "route" => route.clone()).record(seconds);
    metrics::counter!(
        "faasm_http_requests_total",
        "route" => route,
        "method" => known(method.as_str()),
        "status" => status.as_u16().to_string(),
    )
    .increment(1);
    tracing::info!(
        target: "py_func::access",
        peer = peer.map(tracing::field::display),
        %method,
        path,
        status = status.as_u16(),
        seconds,
        trace,
    );
    response
}

/// Methods can be any word, and metrics should not have any number of them.
fn known(method: &str) -> &'static str {
    const KNOWN: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}

/// The trace that a client says the request belongs to, else a new one.
fn trace(headers: &HeaderMap) -> String {
    let given = headers.get("traceparent").and_then(|it| it.to_str().ok()).and_then(trace_of);
    given.map_or_else(new_trace, str::to_owned)
}

/// The number of the trace in a header `traceparent`: version, trace, parent and flags, in lower-case hexadecimal.
fn trace_of(value: &str) -> Option<&str> {
    let mut parts = value.split('-');
    let hexadecimal = |part: &&str, length: usize| {
        part.len() == length && part.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    };
    let version = parts.next().filter(|it| hexadecimal(it, 2) && *it != "ff")?;
    let zero = |part: &&str| part.bytes().all(|it| it == b'0');
    let trace = parts.next().filter(|it| hexadecimal(it, 32) && !zero(it))?;
    parts.next().filter(|it| hexadecimal(it, 16) && !zero(it))?;
    parts.next().filter(|it| hexadecimal(it, 2))?;
    // Later versions may have more parts.
    (version != "00" || parts.next().is_none()).then_some(trace)
}

fn new_trace() -> String {
    // Without randomness a trace has a number that is none, as the standard wants it.
    let high = getrandom::u64().unwrap_or_default();
    let low = getrandom::u64().unwrap_or_default();
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (value, good) in [
            (format!("00-{trace}-00f067aa0ba902b7-01"), true),
            (format!("cc-{trace}-00f067aa0ba902b7-01-more"), true),
            (format!("00-{trace}-00f067aa0ba902b7-01-more"), false),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), false),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), false),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), false),
            (format!("00-{trace}-0000000000000000-01"), false),
            (format!("00-{trace}"), false),
            (String::new(), false),
        ] {
            assert_eq!(trace_of(&value), good.then_some(trace), "{value}");
        }
    }
}
