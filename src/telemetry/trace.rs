//! One span per request, sent by OTLP over HTTP. It continues the client's trace (W3C trace context).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use super::otlp;
use crate::config::BaseUrl;

/// The target of request spans. Without a collector no layer takes it, and a span costs nothing.
pub const TARGET: &str = "thinkgate::request";

/// Exports spans to the collector at `address`.
///
/// # Errors
/// When the address or the HTTP client cannot be used.
pub fn provider(address: &BaseUrl) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(address.join("/v1/traces"))
        .with_http_client(otlp::http_client()?)
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(otlp::resource())
        .build())
}

/// The layer that hands request spans to the exporter.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(
    provider: &SdkTracerProvider,
) -> impl Layer<S> + use<S> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("thinkgate"))
        .with_filter(Targets::new().with_target(TARGET, Level::INFO))
}

/// Makes `span` a child of the span in the client's `traceparent` header.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    if !span.is_disabled() {
        let _ = span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(headers)));
    }
}

/// Writes `span` into the `traceparent` header of a request to a model server.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    if !span.is_disabled() {
        let mut carrier = HeaderInjector(headers);
        TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    }
}

struct HeaderExtractor<'a>(&'a HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeaderInjector<'a>(&'a mut HeaderMap);

impl Injector for HeaderInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
