//! One span a request, sent by OTLP over HTTP, continuing the client's trace (W3C trace context).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TracerProvider as _,
};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

use crate::{config::BaseUrl, net::tls};

/// The target of request spans. Without a collector nothing listens to it, and a span costs nothing.
pub const TARGET: &str = "thinkgate::request";

/// An exporter to the collector at `address`.
pub fn provider(address: &BaseUrl) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(address.join("/v1/traces"))
        .with_http_client(collector_client()?)
        .build()?;
    let resource = Resource::builder().with_service_name("thinkgate").build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// The exporter runs on a thread of its own, outside the runtime, and so needs a client that blocks.
fn collector_client() -> anyhow::Result<reqwest::blocking::Client> {
    tls::install_crypto_provider();
    // The client must be made off the runtime's threads: it brings a small runtime of its own.
    let made = std::thread::spawn(|| reqwest::blocking::Client::builder().no_proxy().build());
    Ok(made
        .join()
        .map_err(|_| anyhow::anyhow!("cannot make the client for telemetry.otlp"))??)
}

/// The layer that turns request spans into exported ones.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(
    provider: &SdkTracerProvider,
) -> impl Layer<S> + use<S> {
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("thinkgate"))
        .with_filter(Targets::new().with_target(TARGET, Level::INFO))
}

/// Makes `span` a part of the trace that the client's headers name.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    if !span.is_disabled() {
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Carrier(headers)));
    }
}

/// Names `span` in the headers of a request to a model server.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut CarrierMut(headers));
    }
}

struct Carrier<'a>(&'a HeaderMap);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct CarrierMut<'a>(&'a mut HeaderMap);

impl Injector for CarrierMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
