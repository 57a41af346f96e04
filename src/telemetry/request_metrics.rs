//! What one request adds to the metrics.

use opentelemetry::KeyValue;

use super::{
    Record,
    metrics::{Metrics, label},
};

impl Metrics {
    /// Counts a request that is over. Each instrument gets its labels in one order: the SDK sorts an order only the first time.
    pub(super) fn record_request(&self, record: &Record) {
        let decision = record.decision.as_ref();
        let route = label("route", record.route);
        let model = label("model", record.model.clone());
        let mode = label("mode", decision.map_or("", |decision| decision.mode));
        let why = label("why", decision.map_or("", |decision| decision.why));
        self.requests.add(
            1,
            &[
                route.clone(),
                model.clone(),
                mode.clone(),
                why.clone(),
                KeyValue::new("status", i64::from(record.status)),
                label("reason", record.reason()),
            ],
        );
        let seconds = record.started.elapsed().as_secs_f64();
        let labels = [route, model.clone(), mode.clone()];
        self.request_duration.record(seconds, &labels);
        for (stage, seconds) in [
            ("headers", record.headers_s),
            ("first_chunk", record.first_chunk_s),
        ] {
            if let Some(seconds) = seconds {
                let labels = [model.clone(), label("stage", stage)];
                self.upstream_duration.record(seconds, &labels);
            }
        }
        if let Some(decision) = decision {
            self.decision_duration.record(decision.seconds, &[why]);
            if let Some(score) = decision.score {
                self.score.record(score, std::slice::from_ref(&model));
            }
            if let Some(reason) = decision.fallback_reason {
                self.fallbacks.add(1, &[label("miss", reason)]);
            }
        }
        let usage = record.usage;
        for (kind, tokens) in [
            ("prompt", usage.prompt),
            ("completion", usage.completion),
            ("reasoning", usage.reasoning),
        ] {
            if let Some(tokens) = tokens {
                let labels = [model.clone(), mode.clone(), label("kind", kind)];
                self.tokens.add(tokens, &labels);
            }
        }
    }
}
