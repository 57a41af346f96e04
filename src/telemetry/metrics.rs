//! The instruments, all in one place, and their Prometheus text.

use std::{collections::BTreeMap, fmt, sync::Arc};

use opentelemetry::{
    KeyValue, StringValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider, UpDownCounter},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use parking_lot::Mutex;
use prometheus::{Encoder, Registry, TextEncoder};

use super::{
    alike::{Count, Kinds, Spread},
    record::Record,
};

/// Bounds for waits on a model, in seconds.
const LONG: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Bounds for our own work, in seconds.
const SHORT: [f64; 12] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
];
/// Bounds for P(reasoning).
const SCORE: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// How one attempt at an endpoint went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// It answered, with whatever status.
    Answered,
    /// It answered that another should be asked.
    Refused,
    /// No connection.
    Unreachable,
    /// The connection ended before the answer.
    Reset,
    /// A limit passed.
    Timeout,
    /// A kept connection was found dead, and the request is sent once more.
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

/// What the health checks say of every server that is checked.
type ServerHealth = BTreeMap<String, bool>;

/// All instruments. Labels are closed sets or configured and discovered names, never a client's text.
pub struct Metrics {
    registry: Registry,
    meter: Meter,
    _provider: SdkMeterProvider,
    requests: Counter<u64>,
    in_flight: UpDownCounter<i64>,
    duration: Histogram<f64>,
    stage: Histogram<f64>,
    classify: Histogram<f64>,
    score: Histogram<f64>,
    fallbacks: Counter<u64>,
    attempts: Counter<u64>,
    retries: Counter<u64>,
    health: Arc<Mutex<ServerHealth>>,
    reload_ok: Gauge<u64>,
    tokens: Counter<u64>,
    alike: Kinds<Kind, Alike>,
    attempted: Kinds<(Arc<str>, Arc<str>, AttemptOutcome), Count>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A fresh set of instruments with a registry of its own.
    ///
    /// # Errors
    /// When the exporter cannot be built; it cannot fail on a fresh registry.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .build()?;
        let provider = SdkMeterProvider::builder().with_reader(exporter).build();
        let meter = provider.meter("thinkgate");
        let seconds = |name, about, bounds: &[f64]| seconds(&meter, name, about, bounds);
        let health = Arc::default();
        register_health_gauge(&meter, &health);
        Ok(Self {
            requests: counter(
                &meter,
                "thinkgate.requests",
                "Requests by route, model, mode, why, status and reason",
            ),
            in_flight: meter
                .i64_up_down_counter("thinkgate.in_flight")
                .with_description("Requests being served")
                .build(),
            duration: seconds(
                "thinkgate.request.duration",
                "From the request's first byte to the answer's last",
                &LONG,
            ),
            stage: seconds(
                "thinkgate.upstream.duration",
                "From the attempt to the model server's headers or first byte",
                &LONG,
            ),
            classify: seconds(
                "thinkgate.decision.duration",
                "From the request read to the decision",
                &SHORT,
            ),
            score: meter
                .f64_histogram("thinkgate.score")
                .with_description("P(reasoning) of the judged requests")
                .with_boundaries(SCORE.to_vec())
                .build(),
            fallbacks: counter(
                &meter,
                "thinkgate.fallbacks",
                "Decisions without the classifier, by what kept it",
            ),
            attempts: counter(
                &meter,
                "thinkgate.upstream.attempts",
                "Attempts at endpoints by outcome",
            ),
            retries: counter(
                &meter,
                "thinkgate.upstream.retries",
                "Wishes to try another endpoint: made, or over the budget",
            ),
            health,
            reload_ok: meter
                .u64_gauge("thinkgate.config.reload_ok")
                .with_description(
                    "0 while the configuration as written was refused and an earlier one is served",
                )
                .build(),
            tokens: counter(
                &meter,
                "thinkgate.tokens",
                "Tokens as the model servers counted them, by kind",
            ),
            alike: Kinds::default(),
            attempted: Kinds::default(),
            registry,
            meter,
            _provider: provider,
        })
    }

    /// The text for `/metrics`.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 << 10);
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text); // writing to memory does not fail
        text
    }

    /// One more or less request being served.
    pub fn add_in_flight(&self, change: i64) {
        self.in_flight.add(change, &[]);
    }

    /// One attempt at an endpoint.
    pub fn count_attempt(&self, model: &Arc<str>, endpoint: &Arc<str>, outcome: AttemptOutcome) {
        let attempt = (model.clone(), endpoint.clone(), outcome);
        self.attempted.of(attempt).add(&self.attempts, 1, || {
            vec![
                label("model", model.clone()),
                label("endpoint", endpoint.clone()),
                label("outcome", outcome.as_str()),
            ]
        });
    }

    /// A request would have gone to another endpoint; `made`: it did, otherwise the budget was spent.
    pub fn count_retry(&self, model: &Arc<str>, made: bool) {
        let outcome = if made { "made" } else { "over_budget" };
        let labels = [label("model", model.clone()), label("outcome", outcome)];
        self.retries.add(1, &labels);
    }

    /// What the health checks say of a server.
    pub fn set_server_healthy(&self, server: &str, healthy: bool) {
        self.health.lock().insert(server.to_owned(), healthy);
    }

    /// From now on only these servers are checked; nothing is shown of others.
    pub fn retain_servers<'s>(&self, servers: impl Iterator<Item = &'s str>) {
        let servers: Vec<&str> = servers.collect();
        self.health
            .lock()
            .retain(|server, _| servers.contains(&server.as_str()));
    }

    /// Shows how many scores were had so far, by where they came from.
    pub fn register_score_counter(
        &self,
        so_far: impl Fn() -> [(&'static str, u64); 2] + Send + Sync + 'static,
    ) {
        self.meter
            .u64_observable_counter("thinkgate.classifier.scores")
            .with_description(
                "Scores of texts: worked out by the model, or remembered (or about to be known)",
            )
            .with_callback(move |counter| {
                for (from, count) in so_far() {
                    counter.observe(count, &[label("from", from)]);
                }
            })
            .build();
    }

    /// Whether the configuration that is served is the one that is written.
    pub fn set_reload_ok(&self, ok: bool) {
        self.reload_ok.record(u64::from(ok), &[]);
    }

    pub(super) fn record_request(&self, record: &Record) {
        let (mode, why) = record
            .decision
            .as_ref()
            .map_or(("", ""), |decision| (decision.mode, decision.why));
        let (status, reason, route) = (record.status, record.reason(), record.route);
        let alike = self.alike.of(Kind {
            model: record.model.clone(),
            route,
            mode,
            why,
            status,
            reason,
        });
        let model = || label("model", record.model.clone());
        let mode = || label("mode", mode);
        alike.requests.add(&self.requests, 1, || {
            let status = KeyValue::new("status", i64::from(status));
            let (why, reason) = (label("why", why), label("reason", reason));
            vec![label("route", route), model(), mode(), why, status, reason]
        });
        let seconds = record.started.elapsed().as_secs_f64();
        alike.duration.record(&self.duration, seconds, || {
            vec![label("route", route), model(), mode()]
        });
        for (spread, stage, seconds) in [
            (&alike.headers, "headers", record.headers_s),
            (&alike.first_chunk, "first_chunk", record.first_chunk_s),
        ] {
            if let Some(seconds) = seconds {
                spread.record(&self.stage, seconds, || {
                    vec![model(), label("stage", stage)]
                });
            }
        }
        if let Some(decision) = &record.decision {
            let labels = || vec![label("why", why)];
            alike
                .classify
                .record(&self.classify, decision.seconds, labels);
            if let Some(score) = decision.score {
                alike.score.record(&self.score, score, || vec![model()]);
            }
            if let Some(reason) = decision.fallback_reason {
                self.fallbacks.add(1, &[label("miss", reason)]);
            }
        }
        let usage = record.usage;
        for (count, kind, tokens) in [
            (&alike.prompt, "prompt", usage.prompt),
            (&alike.completion, "completion", usage.completion),
            (&alike.reasoning, "reasoning", usage.reasoning),
        ] {
            if let Some(tokens) = tokens {
                let labels = || vec![model(), mode(), label("kind", kind)];
                count.add(&self.tokens, tokens, labels);
            }
        }
    }
}

/// What requests have in common that are measured under the same labels.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    model: Arc<str>,
    route: &'static str,
    mode: &'static str,
    why: &'static str,
    status: u16,
    reason: &'static str,
}

/// Their measurements.
#[derive(Debug, Default)]
struct Alike {
    requests: Count,
    duration: Spread,
    headers: Spread,
    first_chunk: Spread,
    classify: Spread,
    score: Spread,
    prompt: Count,
    completion: Count,
    reasoning: Count,
}

/// Shows the health as they are when they are asked for: a gauge that is set would keep that of a server that is gone.
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

/// A label; words of ours and shared names are not copied.
fn label(key: &'static str, value: impl Into<StringValue>) -> KeyValue {
    KeyValue::new(key, value.into())
}

fn counter(meter: &Meter, name: &'static str, about: &'static str) -> Counter<u64> {
    meter.u64_counter(name).with_description(about).build()
}

fn seconds(
    meter: &Meter,
    name: &'static str,
    about: &'static str,
    bounds: &[f64],
) -> Histogram<f64> {
    meter
        .f64_histogram(name)
        .with_unit("s")
        .with_description(about)
        .with_boundaries(bounds.to_vec())
        .build()
}
