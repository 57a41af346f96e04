//! What one request adds to the metrics.

use http::StatusCode;

use super::{
    Record,
    metrics::{Metrics, label},
};

impl Metrics {
    /// Counts a request that is over. Each histogram gets its labels in one order: the SDK sorts an order only the first time.
    pub(super) fn record_request(&self, record: &Record) {
        let decision = record.decision.as_ref();
        let (route, model) = (record.route, &*record.model);
        let (mode, why) = decision.map_or(("", ""), |decision| (decision.mode, decision.why));
        let status = StatusCode::from_u16(record.status).ok(); // 0 is none: the client left before
        let status = status.as_ref().map_or("0", StatusCode::as_str);
        self.requests
            .add(1, [route, model, mode, why, status, record.reason()]);
        let seconds = record.started.elapsed().as_secs_f64();
        let model_label = label("model", record.model.clone());
        let labels = [
            label("route", route),
            model_label.clone(),
            label("mode", mode),
        ];
        self.request_duration.record(seconds, &labels);
        for (stage, seconds) in [
            ("headers", record.headers_s),
            ("first_chunk", record.first_chunk_s),
        ] {
            if let Some(seconds) = seconds {
                let labels = [model_label.clone(), label("stage", stage)];
                self.upstream_duration.record(seconds, &labels);
            }
        }
        if let Some(decision) = decision {
            self.decision_duration
                .record(decision.seconds, &[label("why", why)]);
            if let Some(score) = decision.score {
                self.score.record(score, &[model_label]);
            }
            if let Some(reason) = decision.fallback_reason {
                self.fallbacks.add(1, [reason]);
            }
        }
        let usage = record.usage;
        for (kind, tokens) in [
            ("prompt", usage.prompt),
            ("completion", usage.completion),
            ("reasoning", usage.reasoning),
        ] {
            if let Some(tokens) = tokens {
                self.tokens.add(tokens, [model, mode, kind]);
            }
        }
    }
}
