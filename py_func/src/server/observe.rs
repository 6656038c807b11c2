//! What is said about each request: the access log, metrics, and the trace it belongs to.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::App;
use super::access::Peer;
use super::problem::Problem;
use super::{body, trace};

/// Nothing in an answer may run, whatever a browser takes it for.
const ISOLATED: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// What functions answer is for pages of this origin alone, whatever a page of another one includes it as.
const OWN: HeaderValue = HeaderValue::from_static("same-origin");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// By which a client finds the trace that its request has begun or has become part of.
const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

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
    // Names as OpenTelemetry has them, so that collectors understand them.
    let span = tracing::info_span!(
        target: "py_func::server",
        "request",
        otel.kind = Empty,
        otel.name = Empty,
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route.as_ref().map(MatchedPath::as_str),
        http.response.status_code = Empty,
        trace = Empty,
    );
    let name = std::fmt::from_fn(|f| match &route {
        Some(route) => write!(f, "{method} {}", route.as_str()),
        None => write!(f, "{method}"),
    });
    let context = trace::begin(&span, trace::given(request.headers()), &name);
    span.record("trace", &*context.trace);
    request.extensions_mut().insert(Trace(context.trace.clone()));

    let (request, rest) = body::share(request);

    app.in_flight.increment(1.0);
    let answered = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind().await;
    app.in_flight.decrement(1.0);
    let mut response = answered.unwrap_or_else(|_| Problem::internal("the host panicked").into_response());
    if response.status().is_client_error() || response.status().is_server_error() {
        rest.skip(&app.limits).await;
    }
    // What functions answer must not become a page of this origin.
    let headers = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(ISOLATED);
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(CROSS_ORIGIN_RESOURCE_POLICY).or_insert(OWN);
    // Hexadecimal digits and hyphens are a valid header.
    headers.extend(HeaderValue::from_str(&context.header()).map(|it| (TRACE_RESPONSE, it)));

    let (status, seconds) = (response.status(), started.elapsed().as_secs_f64());
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    drop(span);
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
        trace = context.trace,
    );
    response
}

/// Methods can be any word, and metrics should not have any number of them.
fn known(method: &str) -> &'static str {
    const KNOWN: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}
