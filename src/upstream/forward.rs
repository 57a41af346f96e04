//! One request on its way: an endpoint with room, the bytes for it, and another one if nothing was answered yet.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, Response, StatusCode, header};

use super::{
    Client, Endpoint, Model, Relay,
    body::{Answered, Look},
    endpoint::InFlight,
    exchange::{Exchange, Failure},
    headers::{self, Head},
    pool::Pool,
    refusal::{self, Refusal},
    reply::Reply,
};
use crate::{
    error::{Error, Limit},
    routing::Rendered,
    telemetry::{AttemptOutcome, Record},
};

/// A request ready to be sent to any endpoint of a model.
pub struct Forward<'a, R> {
    /// The client's method.
    pub method: Method,
    /// Path and query, as they came.
    pub path: &'a str,
    /// The client's headers, as they came.
    pub headers: &'a HeaderMap,
    /// Whether the client's own credentials go on: only when we have no keys of our own.
    pub pass_credentials: bool,
    /// Whether the answer is looked at while it passes.
    pub looked_at: bool,
    /// Whether the client is known to have asked for a stream.
    pub streams: bool,
    /// The body for one endpoint, with our switch or without.
    pub render: R,
}

impl<R: Fn(&Endpoint, bool) -> Rendered> Forward<'_, R> {
    /// Sends the request to an endpoint of `model` and, while nothing was answered, to others.
    ///
    /// The answer's body carries `record`, which is written when the body is dropped.
    ///
    /// # Errors
    /// Why no endpoint answered, with the record back; a status, whichever it is, is no error.
    pub async fn send(
        self,
        client: &Client,
        model: &Model,
        mut record: Box<Record>,
    ) -> Result<Response<Relay>, (Error, Box<Record>)> {
        let mut trail = Trail {
            endpoints: &model.endpoints,
            tried: Vec::with_capacity(1),
            answered: None,
            failure: None,
        };
        client.budget.earn();
        let mut next = trail.pool().pick();
        while let Some(endpoint) = next {
            trail.tried.push(endpoint.clone());
            record.attempts += 1;
            let running = endpoint.enter();
            let sent = Instant::now();
            let exchange = Exchange {
                client,
                model: &model.name,
                endpoint: &endpoint,
                method: &self.method,
                path: self.path,
                head: self.head(),
                streams: self.streams,
                span: &record.span,
            };
            let attempt = pin!(self.attempt(&exchange)); // by reference: what it is given it keeps twice
            let attempt = client.cut_here().run_until_cancelled(attempt);
            let result = attempt.await.unwrap_or(Err(Error::Stopping.into()));
            client
                .metrics
                .count_attempt(&model.name, &endpoint.label, outcome(&result));
            if result.is_ok() {
                record.headers_s = Some(sent.elapsed().as_secs_f64());
            }
            next = match trail.goes_on(&model.name, running, sent, result) {
                true => trail.another(client, &model.name),
                false => None,
            };
        }
        // With no endpoint left, a server's own last answer says more than our failure to reach another.
        match trail.answered {
            Some((response, attempt)) => Ok(self.relay(client, response, record, attempt)),
            None => {
                record.endpoint = trail.tried.last().map(|endpoint| endpoint.label.clone());
                let failed = trail.failure.map(|failure| failure.error);
                let none = || Error::NoEndpoint(format!("model `{}`", model.name));
                Err((failed.unwrap_or_else(none), record))
            }
        }
    }

    fn head(&self) -> Head<'_> {
        Head {
            client: self.headers,
            looked_at: self.looked_at,
            pass_credentials: self.pass_credentials,
        }
    }

    /// One attempt at one endpoint. A server that refuses our switch is asked again without it; true when that was so.
    async fn attempt(&self, exchange: &Exchange<'_>) -> Result<(Reply, bool), Failure> {
        let (client, endpoint) = (exchange.client, exchange.endpoint);
        let refuses = endpoint.refuses();
        let rendered = (self.render)(endpoint, !refuses);
        let response = exchange.ask(rendered.body).await?;
        if rendered.fields.is_empty() {
            return Ok((response, refuses));
        }
        let read = refusal::read(response, &rendered.fields, client.limits.idle).await;
        let refusal = read.map_err(|error| Failure {
            error,
            was_kept: false,
            had_begun: true,
        })?;
        if let Refusal::Unrelated(response) = refusal {
            return Ok((response, false));
        }
        tracing::warn!(endpoint = &*endpoint.label, fields = ?rendered.fields, "the server refuses our switch; asking without it");
        let plain = (self.render)(endpoint, false);
        let response = exchange.ask(plain.body).await?;
        // If it is no success, it may not have been our switch that the server minded.
        if response.status().is_success() {
            endpoint.remember_refusal();
        }
        Ok((response, true))
    }

    fn relay(
        self,
        client: &Client,
        response: Reply,
        mut record: Box<Record>,
        attempt: Answered,
    ) -> Response<Relay> {
        let (parts, body) = response.into_parts();
        let look = Look::at(&parts.headers, self.looked_at);
        let mut headers = headers::for_client(parts.headers);
        if parts.status == StatusCode::SERVICE_UNAVAILABLE
            && !headers.contains_key(header::RETRY_AFTER)
        {
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("1")); // vLLM sends none
        }
        record.endpoint = Some(attempt.running.endpoint().label.clone());
        record.status = parts.status.as_u16();
        record.stream = look.is_sse();
        let mut response = Response::new(Relay::new(body, look, client, record, attempt));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

/// Where a request was sent so far, and what came of it.
struct Trail<'m> {
    /// All there are.
    endpoints: &'m [Arc<Endpoint>],
    tried: Vec<Arc<Endpoint>>,
    /// The latest answer.
    answered: Option<(Reply, Answered)>,
    /// Why the latest that did not answer did not.
    failure: Option<Failure>,
}

impl Trail<'_> {
    fn pool(&self) -> Pool<'_> {
        Pool {
            endpoints: self.endpoints,
            tried: &self.tried,
            is_unanswered: self.answered.is_none(),
        }
    }

    /// Takes in how an attempt ended; true when another endpoint may take the request.
    fn goes_on(
        &mut self,
        model: &str,
        running: InFlight,
        sent: Instant,
        result: Result<(Reply, bool), Failure>,
    ) -> bool {
        let endpoint = running.endpoint();
        let (response, refused) = match result {
            Ok(answer) => answer,
            Err(failure) => {
                let error = &failure.error;
                if !matches!(error, Error::Invalid { .. } | Error::Stopping) {
                    endpoint.failed(sent); // else it is ours, not the endpoint's
                }
                let endpoint = &*endpoint.label;
                tracing::warn!(endpoint, model, %error, "attempt failed");
                let goes_on = moves_on(&failure);
                self.failure = Some(failure);
                return goes_on;
            }
        };
        let goes_on = asks_for_another(response.status());
        if goes_on {
            endpoint.answered(sent); // nobody may read its body; the status is all there is to say
            if let Some(rest) = asks_for_rest(&response) {
                endpoint.rest(rest);
            }
        }
        let attempt = Answered {
            running,
            sent,
            refused,
        };
        self.answered = Some((response, attempt));
        goes_on
    }

    /// Another endpoint, where there is one, `upstream.retries` allow it, and then the budget does: what it grants is spent. The
    /// endpoint comes last, since with it goes the trial of one that was left out.
    fn another(&self, client: &Client, model: &Arc<str>) -> Option<Arc<Endpoint>> {
        let again = self.same_again();
        let has_another = again.is_some() || self.pool().has_another();
        if self.tried.len() > client.limits.retries as usize || !has_another {
            return None;
        }
        let granted = client.budget.spend();
        client.metrics.count_retry(model, granted);
        match granted {
            true => again.or_else(|| self.pool().pick()),
            false => None,
        }
    }

    /// The first endpoint once more, where no other is up. A server whose loop stands still, as vLLM's does under load, closes a
    /// connection that lay unused for too long as soon as it goes on, without a look at what was sent meanwhile.
    fn same_again(&self) -> Option<Arc<Endpoint>> {
        let may_be_unread = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.was_kept && failure.error == Error::Reset);
        match &*self.tried {
            [first] if may_be_unread && !self.pool().has_one_up() => Some(first.clone()),
            _ => None,
        }
    }
}

/// Statuses that say "not me, not now": another endpoint may take the request.
fn asks_for_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// How long a server asks to be left alone (RFC 9110, 10.2.3); a date says too little across two clocks.
fn asks_for_rest(response: &Reply) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

/// Failures after which another endpoint may take the request. One that was given `headers_ms` has the request and may be at
/// work on it; another would do the work twice. One whose answer had begun has done it.
fn moves_on(failure: &Failure) -> bool {
    match &failure.error {
        _ if failure.had_begun => false,
        Error::Unreachable | Error::Reset => true,
        Error::Timeout { setting, .. } => *setting == Limit::Connect,
        _ => false,
    }
}

/// How an attempt is counted.
fn outcome(result: &Result<(Reply, bool), Failure>) -> AttemptOutcome {
    match result {
        Ok((response, _)) if asks_for_another(response.status()) => AttemptOutcome::Refused,
        Ok(_) => AttemptOutcome::Answered,
        Err(failure) => match failure.error {
            Error::Unreachable => AttemptOutcome::Unreachable,
            Error::Timeout { .. } => AttemptOutcome::Timeout,
            _ => AttemptOutcome::Reset,
        },
    }
}
