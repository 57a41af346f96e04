//! All metric instruments. Prometheus reads them at `/metrics`; with `telemetry.otlp` they are also pushed to the collector.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use opentelemetry::{
    KeyValue, StringValue,
    metrics::{Gauge, Histogram, HistogramBuilder, Meter, MeterProvider},
};
use opentelemetry_otlp::{MetricExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use parking_lot::Mutex;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    LAST_EXPORT,
    counter::{CounterFamily, up_down_counter},
    otlp,
};
use crate::config::BaseUrl;

/// Histogram bounds for times that a model server takes, in seconds.
const MODEL_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Histogram bounds for times that the gateway takes itself, in seconds.
const OWN_SECONDS: [f64; 12] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];
/// Histogram bounds for P(reasoning).
const SCORE: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// How one attempt at an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The endpoint answered, with any status that is relayed.
    Answered,
    /// The endpoint answered with a status that sends the request to another endpoint.
    Refused,
    /// No connection was made.
    Unreachable,
    /// The connection ended before the answer.
    Reset,
    /// A time limit passed.
    Timeout,
    /// A reused connection was dead; the same endpoint gets the request once more.
    Replaced,
}

impl AttemptOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Replaced => "replaced",
        }
    }
}

/// The latest health check of each server: true when it is healthy.
type ServerHealth = BTreeMap<String, bool>;

/// All instruments. Labels are closed sets, or names that are configured or discovered; never a client's text.
pub struct Metrics {
    registry: Registry,
    meter: Meter,
    provider: SdkMeterProvider,
    pub(super) requests: CounterFamily<6>,
    in_flight: Arc<AtomicI64>,
    pub(super) request_duration: Histogram<f64>,
    pub(super) upstream_duration: Histogram<f64>,
    pub(super) decision_duration: Histogram<f64>,
    pub(super) score: Histogram<f64>,
    pub(super) fallbacks: CounterFamily<1>,
    attempts: CounterFamily<3>,
    retries: CounterFamily<2>,
    health: Arc<Mutex<ServerHealth>>,
    /// Whether the store of `auth.shared_limits` answers; `None` without one.
    shared_limits_up: Arc<Mutex<Option<bool>>>,
    reload_ok: Gauge<u64>,
    pub(super) tokens: CounterFamily<3>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Creates the instruments. `collector`: where they are pushed by OTLP, every 60 s or `OTEL_METRIC_EXPORT_INTERVAL` ms.
    ///
    /// # Errors
    /// When the collector's address or the HTTP client cannot be used.
    pub fn new(collector: Option<&BaseUrl>) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let provider = provider(&registry, collector)?;
        let meter = provider.meter("thinkgate");
        let seconds = |name, description, bounds: &[f64]| {
            histogram(&meter, name, description, bounds)
                .with_unit("s")
                .build()
        };
        let health = Arc::default();
        register_health_gauge(&meter, &health);
        let shared_limits_up = Arc::default();
        register_shared_limits_gauge(&meter, &shared_limits_up);
        Ok(Self {
            requests: CounterFamily::new(
                &meter,
                "thinkgate.requests",
                "Requests by route, model, mode, why, status and reason",
                ["route", "model", "mode", "why", "status", "reason"],
            ),
            in_flight: up_down_counter(&meter, "thinkgate.in_flight", "Requests being served"),
            request_duration: seconds(
                "thinkgate.request.duration",
                "From the request's first byte to the answer's last",
                &MODEL_SECONDS,
            ),
            upstream_duration: seconds(
                "thinkgate.upstream.duration",
                "From the attempt to the model server's headers or first byte",
                &MODEL_SECONDS,
            ),
            decision_duration: seconds(
                "thinkgate.decision.duration",
                "From the request read to the decision",
                &OWN_SECONDS,
            ),
            score: histogram(
                &meter,
                "thinkgate.score",
                "P(reasoning) of the judged requests",
                &SCORE,
            )
            .build(),
            fallbacks: CounterFamily::new(
                &meter,
                "thinkgate.fallbacks",
                "Decisions without the classifier, by what kept it",
                ["miss"],
            ),
            attempts: CounterFamily::new(
                &meter,
                "thinkgate.upstream.attempts",
                "Attempts at endpoints by outcome",
                ["model", "endpoint", "outcome"],
            ),
            retries: CounterFamily::new(
                &meter,
                "thinkgate.upstream.retries",
                "Wishes to try another endpoint: made, or over the budget",
                ["model", "outcome"],
            ),
            health,
            shared_limits_up,
            reload_ok: meter
                .u64_gauge("thinkgate.config.reload_ok")
                .with_description(
                    "0 while the configuration as written was refused and an earlier one is served",
                )
                .build(),
            tokens: CounterFamily::new(
                &meter,
                "thinkgate.tokens",
                "Tokens as the model servers counted them, by kind",
                ["model", "mode", "kind"],
            ),
            registry,
            meter,
            provider,
        })
    }

    /// The text for `/metrics`.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 << 10);
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text); // writing to memory does not fail
        text
    }

    /// Pushes the last metrics to the collector, within [`LAST_EXPORT`]. Nothing is counted afterwards.
    pub async fn shutdown(&self) {
        let provider = self.provider.clone();
        let pushed = spawn_blocking(move || provider.shutdown());
        let _ = timeout(LAST_EXPORT, pushed).await; // without a collector the metrics are lost
    }

    /// Counts one request more (1) or less (-1) as being served.
    pub fn add_in_flight(&self, change: i64) {
        self.in_flight.fetch_add(change, Ordering::Relaxed);
    }

    /// Counts one attempt at an endpoint.
    pub fn count_attempt(&self, model: &str, endpoint: &str, outcome: AttemptOutcome) {
        self.attempts.add(1, [model, endpoint, outcome.as_str()]);
    }

    /// Counts a request that should go to another endpoint. `made`: it did; otherwise the retry budget was spent.
    pub fn count_retry(&self, model: &str, made: bool) {
        let outcome = if made { "made" } else { "over_budget" };
        self.retries.add(1, [model, outcome]);
    }

    /// Shows a server as healthy or not.
    pub fn set_server_healthy(&self, server: &str, healthy: bool) {
        self.health.lock().insert(server.to_owned(), healthy);
    }

    /// Shows whether the store of `auth.shared_limits` answers; `None` without one.
    pub fn set_shared_limits_up(&self, up: Option<bool>) {
        *self.shared_limits_up.lock() = up;
    }

    /// Removes the health of all other servers, which are not checked any more.
    pub fn retain_servers<'s>(&self, servers: impl Iterator<Item = &'s str>) {
        let servers: Vec<&str> = servers.collect();
        self.health
            .lock()
            .retain(|server, _| servers.contains(&server.as_str()));
    }

    /// Adds a counter of scores by their source. `counts` returns the totals so far, each with its label.
    pub fn register_score_counter(
        &self,
        counts: impl Fn() -> [(&'static str, u64); 2] + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_counter("thinkgate.classifier.scores")
            .with_description(
                "Scores of texts: worked out by the model, or remembered (or about to be known)",
            )
            .with_callback(move |counter| {
                for (source, count) in counts() {
                    counter.observe(count, &[label("from", source)]);
                }
            })
            .build();
    }

    /// Shows whether the configuration that is served is the one on disk.
    pub fn set_reload_ok(&self, ok: bool) {
        self.reload_ok.record(u64::from(ok), &[]);
    }
}

/// One provider with a reader for Prometheus and, with a collector, one that pushes.
fn provider(registry: &Registry, collector: Option<&BaseUrl>) -> anyhow::Result<SdkMeterProvider> {
    let prometheus = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .without_target_info()
        .build()?;
    let builder = SdkMeterProvider::builder()
        .with_resource(otlp::resource())
        .with_reader(prometheus);
    let Some(collector) = collector else {
        return Ok(builder.build());
    };
    let exporter = MetricExporter::builder()
        .with_http()
        .with_endpoint(collector.join("/v1/metrics"))
        .with_http_client(otlp::http_client()?)
        .build()?;
    Ok(builder.with_periodic_exporter(exporter).build())
}

/// Shows the health of each server when the metrics are read: a gauge that is set would keep a server that is gone.
fn register_health_gauge(meter: &Meter, health: &Arc<Mutex<ServerHealth>>) {
    let health = health.clone();
    meter
        .u64_observable_gauge("thinkgate.endpoint.healthy")
        .with_description("1 if the server is healthy by its health checks, else 0")
        .with_callback(move |gauge| {
            for (server, healthy) in &*health.lock() {
                gauge.observe(u64::from(*healthy), &[label("server", server.clone())]);
            }
        })
        .build();
}

/// Shows whether the store of `auth.shared_limits` answers, where there is one.
fn register_shared_limits_gauge(meter: &Meter, up: &Arc<Mutex<Option<bool>>>) {
    let up = up.clone();
    meter
        .u64_observable_gauge("thinkgate.shared_limits.up")
        .with_description(
            "1 if the store of auth.shared_limits answers, 0 while each replica limits for itself",
        )
        .with_callback(move |gauge| {
            if let Some(up) = *up.lock() {
                gauge.observe(u64::from(up), &[]);
            }
        })
        .build();
}

/// A label; static words and shared names are not copied.
pub(super) fn label(key: &'static str, value: impl Into<StringValue>) -> KeyValue {
    KeyValue::new(key, value.into())
}

fn histogram<'m>(
    meter: &'m Meter,
    name: &'static str,
    description: &'static str,
    bounds: &[f64],
) -> HistogramBuilder<'m, Histogram<f64>> {
    meter
        .f64_histogram(name)
        .with_description(description)
        .with_boundaries(bounds.to_vec())
}
