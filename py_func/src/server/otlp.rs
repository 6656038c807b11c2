//! Traces for a collector of OpenTelemetry: each request a span, and below it those of its call.
//!
//! The variables are OpenTelemetry's own: `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` says where the collector is,
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER` and so on what else there is to say. Traces are sent in batches,
//! by a thread of their own, as OTLP's protocol buffers over HTTP; those that come faster than they can be sent are dropped.

use std::env;
use std::fmt::Display;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::field::display;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::error::ServerError;
use super::trace::Context;

/// Sends traces to a collector.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// What the environment names, if it names a collector.
    ///
    /// # Errors
    ///
    /// When what it says cannot be used.
    pub fn from_env() -> Result<Option<Self>, ServerError> {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        if !["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"].into_iter().any(is_set) {
            return Ok(None);
        }
        let failed = |error: &dyn Display| ServerError::Traces { reason: error.to_string() };
        // reqwest is compiled without a provider of its own. That there is one already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().build().map_err(|error| failed(&error))?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client);
        let exporter = exporter.build().map_err(|error| failed(&error))?;
        let mut resource = Resource::builder();
        if !is_set("OTEL_SERVICE_NAME") {
            resource = resource.with_service_name("py_func");
        }
        let provider =
            SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter);
        Ok(Some(Self(provider.build())))
    }

    /// What hands this program's spans over, as a part of the subscriber of `tracing`.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        // Not those of the exporter's own requests.
        let ours = Targets::new().with_target("py_func", LevelFilter::INFO);
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("py_func")).with_filter(ours)
    }

    /// Sends what there still is to send.
    pub fn shutdown(&self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(target: "py_func::server", "failed to send the last traces: {error}");
        }
    }
}

/// Makes a span part of the trace that was given, or the first one of another, and answers its place there; `None` if nobody sends it.
pub(super) fn begin(span: &Span, given: Option<&Context>, name: &dyn Display) -> Option<Context> {
    span.record("otel.kind", "server").record("otel.name", display(name));
    if let Some(Context { trace, span: parent, sampled }) = given {
        let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?);
        let flags = TraceFlags::default().with_sampled(*sampled);
        let parent = SpanContext::new(trace, parent, flags, true, TraceState::default());
        // It fails where nobody sends the span, which is found out below.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| Context {
        trace: context.trace_id().to_string(),
        span: context.span_id().to_string(),
        sampled: context.is_sampled(),
    })
}
