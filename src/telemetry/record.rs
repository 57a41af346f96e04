//! The record of one request: written to the log, the metrics and the trace when its body ended or failed, or the client left.

use std::{sync::Arc, thread, time::Instant};

use tracing::{Span, field::Empty, info, info_span};

use super::{Metrics, RequestLine, request_line::printable, trace};
use crate::{api::Usage, error::Error};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// The client left before the end. Every request starts with this outcome.
    #[default]
    ClientGone,
    /// The whole response was delivered.
    Complete,
    /// The gateway or the model server failed, for this reason.
    Failed(&'static str),
}

/// The decision on one request, for its record.
#[derive(Debug, Clone, PartialEq)]
pub struct DecisionRecord {
    /// The mode that was sent.
    pub mode: &'static str,
    /// The rule that decided.
    pub why: &'static str,
    /// P(reasoning), when one was computed.
    pub score: Option<f64>,
    /// The subject, when the classifier names one.
    pub domain: Option<Arc<str>>,
    /// Why the classifier did not decide, when `why` is a fallback.
    pub fallback_reason: Option<&'static str>,
    /// How long the decision took, in seconds.
    pub seconds: f64,
}

/// The record of one request. Dropping it writes it, so the response body owns it.
#[derive(Debug)]
pub struct Record {
    metrics: Arc<Metrics>,
    /// The span of the request; disabled without a collector.
    pub span: Span,
    /// When the request arrived.
    pub started: Instant,
    /// The route pattern.
    pub route: &'static str,
    /// The method and the path, written where the request failed.
    pub line: RequestLine,
    /// The model that was asked for, where the request failed after it was read.
    asked_model: Option<String>,
    /// `x-request-id`.
    pub request_id: Arc<str>,
    /// The name of the API key.
    pub client: Option<Arc<str>>,
    /// The model by its name in the configuration; empty when there is no such model.
    pub model: Arc<str>,
    /// The URL of the endpoint that answered.
    pub endpoint: Option<Arc<str>>,
    /// The number of endpoints that were tried.
    pub attempts: u32,
    /// The decision; `None` on routes that are not judged.
    pub decision: Option<DecisionRecord>,
    /// The status that the client got; 0 when it left before.
    pub status: u16,
    /// True when the response was an event stream.
    pub stream: bool,
    /// Seconds from the start of the successful attempt to the response headers.
    pub headers_s: Option<f64>,
    /// Seconds from the start of the successful attempt to the first body byte.
    pub first_chunk_s: Option<f64>,
    /// Body bytes that the client sent.
    pub bytes_in: u64,
    /// Body bytes that the client got.
    pub bytes_out: u64,
    /// Tokens as the model server counted them.
    pub usage: Usage,
    /// How the request ended.
    pub outcome: Outcome,
}

impl Record {
    /// Starts the record of a request. Boxed, because it is moved a dozen times.
    pub fn start(metrics: Arc<Metrics>, route: &'static str, request_id: Arc<str>) -> Box<Self> {
        metrics.add_in_flight(1);
        let span = info_span!(
            target: trace::TARGET, "request", otel.name = route, otel.kind = "server", http.route = route,
            request_id = &*request_id, http.response.status_code = Empty, gen_ai.request.model = Empty,
            thinkgate.mode = Empty, thinkgate.why = Empty, thinkgate.score = Empty, thinkgate.domain = Empty,
            server.address = Empty, gen_ai.usage.input_tokens = Empty, gen_ai.usage.output_tokens = Empty,
            error.type = Empty,
        );
        Box::new(Self {
            metrics,
            span,
            started: Instant::now(),
            route,
            line: RequestLine::default(),
            asked_model: None,
            request_id,
            client: None,
            model: "".into(),
            endpoint: None,
            attempts: 0,
            decision: None,
            status: 0,
            stream: false,
            headers_s: None,
            first_chunk_s: None,
            bytes_in: 0,
            bytes_out: 0,
            usage: Usage::default(),
            outcome: Outcome::ClientGone,
        })
    }

    /// Records that the request failed with `error`.
    pub fn fail(&mut self, error: &Error) {
        self.outcome = Outcome::Failed(error.reason());
        self.status = error.status().as_u16();
    }

    /// Notes the model that a request asked for, for the log line of a request that fails. It is shortened.
    pub fn set_asked_model(&mut self, name: &str) {
        self.asked_model = Some(printable(name));
    }

    /// Changes the mode and its reason to those of the body that the endpoint answered.
    pub fn set_mode(&mut self, mode: &'static str, why: &'static str) {
        if let Some(decision) = &mut self.decision {
            (decision.mode, decision.why) = (mode, why);
        }
    }

    /// The outcome as one word, for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self.outcome {
            Outcome::Complete => "complete",
            Outcome::ClientGone => "client_gone",
            Outcome::Failed(reason) => reason,
        }
    }

    /// Records a panic: the client did not leave, and gets a 500 unless it got a response already.
    fn fail_panicked(&mut self) {
        let error = Error::Internal;
        self.outcome = Outcome::Failed(error.reason());
        if self.status == 0 {
            self.status = error.status().as_u16();
        }
    }

    fn close_span(&self) {
        let span = &self.span;
        if span.is_disabled() {
            return;
        }
        // As `i64`: `tracing-opentelemetry` turns a `u64` into a string.
        let signed = |tokens: Option<u64>| tokens.and_then(|tokens| i64::try_from(tokens).ok());
        span.record("http.response.status_code", i64::from(self.status));
        span.record("gen_ai.request.model", &*self.model);
        span.record("server.address", self.endpoint.as_deref());
        span.record("gen_ai.usage.input_tokens", signed(self.usage.prompt));
        span.record("gen_ai.usage.output_tokens", signed(self.usage.completion));
        if let Some(decision) = &self.decision {
            span.record("thinkgate.mode", decision.mode);
            span.record("thinkgate.why", decision.why);
            span.record("thinkgate.score", decision.score);
            span.record("thinkgate.domain", decision.domain.as_deref());
        }
        if self.outcome != Outcome::Complete {
            span.record("error.type", self.reason());
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.outcome == Outcome::ClientGone && thread::panicking() {
            self.fail_panicked();
        }
        self.metrics.add_in_flight(-1);
        self.metrics.record_request(self);
        self.close_span();
        let decision = self.decision.as_ref();
        let milliseconds = |seconds: f64| (seconds * 1e6).round() / 1e3;
        let failed = matches!(self.outcome, Outcome::Failed(_)).then_some(&self.line);
        info!(
            target: "thinkgate::access",
            request_id = &*self.request_id,
            route = self.route,
            method = failed.map(RequestLine::method),
            path = failed.map(RequestLine::path),
            asked_model = failed.and(self.asked_model.as_deref()),
            client = self.client.as_deref(),
            model = &*self.model,
            endpoint = self.endpoint.as_deref(),
            attempts = self.attempts,
            status = self.status,
            outcome = self.reason(),
            mode = decision.map(|decision| decision.mode),
            why = decision.map(|decision| decision.why),
            score = decision.and_then(|decision| decision.score),
            domain = decision.and_then(|decision| decision.domain.as_deref()),
            miss = decision.and_then(|decision| decision.fallback_reason),
            decision_ms = decision.map(|decision| milliseconds(decision.seconds)),
            stream = self.stream,
            headers_ms = self.headers_s.map(milliseconds),
            first_chunk_ms = self.first_chunk_s.map(milliseconds),
            total_ms = milliseconds(self.started.elapsed().as_secs_f64()),
            bytes_in = self.bytes_in,
            bytes_out = self.bytes_out,
            prompt_tokens = self.usage.prompt,
            completion_tokens = self.usage.completion,
            reasoning_tokens = self.usage.reasoning,
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;

    use super::*;

    /// Holds the record across an await, as a handler does, and panics.
    async fn panics(record: Box<Record>) {
        async fn panic_later(_record: &Record) {
            tokio::task::yield_now().await;
            panic!("a defect");
        }
        panic_later(&record).await;
    }

    #[tokio::test]
    async fn a_request_that_panics_is_not_recorded_as_a_client_that_left() {
        for (status, written) in [(0, 500), (200, 200)] {
            let metrics = Arc::new(Metrics::new(None).unwrap());
            let mut record = Record::start(metrics.clone(), "/v1/*", "1".into());
            record.status = status;
            let caught = AssertUnwindSafe(panics(record)).catch_unwind().await;
            assert!(caught.is_err());
            let text = String::from_utf8(metrics.render()).unwrap();
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with("thinkgate_requests_total{"));
            let line = line.unwrap();
            assert!(line.contains("reason=\"internal\""), "{line}");
            assert!(line.contains(&format!("status=\"{written}\"")), "{line}");
        }
    }
}
