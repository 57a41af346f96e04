//! One request on its way: an endpoint with room, the bytes for it, and another one if nothing was answered yet.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, Response, StatusCode, header};

use super::{
    Client, Endpoint, Model, Relay,
    body::{Answered, Look},
    exchange::Exchange,
    headers, pool,
    refusal::{self, Refusal},
};
use crate::{
    error::{Error, Limit},
    routing::Rendered,
    telemetry::{Attempt, Record},
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
        mut record: Record,
    ) -> Result<Response<Relay>, (Error, Record)> {
        let mut headers = headers::for_upstream(self.headers, self.looked_at);
        if !self.pass_credentials {
            headers.remove(header::AUTHORIZATION);
            headers.remove("x-api-key");
        }
        let mut tried: Vec<Arc<Endpoint>> = Vec::with_capacity(1);
        let mut answered = None;
        let mut failure = Error::NoEndpoint(format!("model `{}`", model.name));
        client.budget.earn();
        let mut next = pool::pick(&model.endpoints, &tried);
        while let Some(endpoint) = next {
            tried.push(endpoint.clone());
            record.attempts += 1;
            let running = endpoint.enter();
            let sent = Instant::now();
            let result = self.attempt(client, &endpoint, &headers, &record).await;
            match &result {
                Ok(_) => endpoint.answered(),
                Err(Error::Invalid { .. }) => {} // ours, not the endpoint's
                Err(_) => endpoint.failed(),
            }
            client
                .metrics
                .attempt(&model.name, &endpoint.label, outcome(&result));
            let goes_on = match result {
                Ok((response, refused)) => {
                    record.headers_s = Some(sent.elapsed().as_secs_f64());
                    let goes_on = asks_for_another(response.status());
                    if let Some(rest) = asks_for_rest(&response).filter(|_| goes_on) {
                        endpoint.rest(rest);
                    }
                    answered = Some((
                        response,
                        Answered {
                            running,
                            sent,
                            refused,
                        },
                    ));
                    goes_on
                }
                Err(error) => {
                    let (endpoint, model) = (&*endpoint.label, &*model.name);
                    tracing::warn!(endpoint, model, %error, "attempt failed");
                    failure = error;
                    moves_on(&failure)
                }
            };
            if !goes_on || record.attempts > client.limits.retries {
                break;
            }
            next = pool::pick(&model.endpoints, &tried);
            if next.is_none() || !self.is_granted(client, model) {
                break;
            }
        }
        // With no endpoint left, a server's own last answer says more than our failure to reach another.
        match answered {
            Some((response, attempt)) => Ok(self.relay(client, response, record, attempt)),
            None => {
                record.endpoint = tried.last().map(|endpoint| endpoint.label.clone());
                Err((failure, record))
            }
        }
    }

    /// True when the budget allows another attempt.
    fn is_granted(&self, client: &Client, model: &Model) -> bool {
        let granted = client.budget.spend();
        client.metrics.retry(&model.name, granted);
        granted
    }

    /// One attempt at one endpoint. A server that refuses our switch is asked again without it; true when that was so.
    async fn attempt(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        headers: &HeaderMap,
        record: &Record,
    ) -> Result<(reqwest::Response, bool), Error> {
        let exchange = Exchange {
            client,
            endpoint,
            method: &self.method,
            path: self.path,
            headers,
            span: &record.span,
        };
        let refuses = endpoint.refuses();
        let rendered = (self.render)(endpoint, !refuses);
        let response = exchange.ask(rendered.body).await?;
        if rendered.fields.is_empty() {
            return Ok((response, refuses));
        }
        let refusal = refusal::read(response, &rendered.fields, client.limits.idle).await?;
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
        response: reqwest::Response,
        mut record: Record,
        attempt: Answered,
    ) -> Response<Relay> {
        let (parts, body) = Response::<reqwest::Body>::from(response).into_parts();
        let mut headers = headers::for_client(&parts.headers);
        if parts.status == StatusCode::SERVICE_UNAVAILABLE
            && !headers.contains_key(header::RETRY_AFTER)
        {
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("1")); // vLLM sends none
        }
        record.endpoint = Some(attempt.running.endpoint().label.clone());
        record.status = parts.status.as_u16();
        let look = Look::at(&parts.headers, self.looked_at);
        record.stream = look.is_sse();
        let mut response = Response::new(Relay::new(body, look, client, record, attempt));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

/// Statuses that say "not me, not now": another endpoint may take the request.
fn asks_for_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// How long a server asks to be left alone (RFC 9110, 10.2.3); a date says too little across two clocks.
fn asks_for_rest(response: &reqwest::Response) -> Option<Duration> {
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
/// work on it; another would do the work twice.
fn moves_on(error: &Error) -> bool {
    match error {
        Error::Unreachable | Error::Reset => true,
        Error::Timeout { setting, .. } => *setting == Limit::Connect,
        _ => false,
    }
}

/// How an attempt is counted.
fn outcome(result: &Result<(reqwest::Response, bool), Error>) -> Attempt {
    match result {
        Ok((response, _)) if asks_for_another(response.status()) => Attempt::Refused,
        Ok(_) => Attempt::Answered,
        Err(Error::Unreachable) => Attempt::Unreachable,
        Err(Error::Timeout { .. }) => Attempt::Timeout,
        Err(_) => Attempt::Reset,
    }
}
