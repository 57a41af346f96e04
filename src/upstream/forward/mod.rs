//! Sends one request to an endpoint, and to another one while nothing was answered.
//!
//! One try is an `Attempt`; what happened so far is in `Attempts`, which also decides about a retry. The answer's body is a
//! [`RelayBody`].

mod attempt;
mod attempts;
mod headers;
mod idle_timeout;
mod inspect;
mod location;
mod relay_body;
mod switch_rejection;

use std::{pin::pin, time::Instant};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tracing::Span;

use self::{
    attempt::{Answer, Attempt, AttemptError},
    attempts::Attempts,
    headers::ForwardHeaders,
    inspect::Inspect,
    relay_body::AnsweredAttempt,
    switch_rejection::SwitchCheck,
};
use super::{balance::Endpoint, catalog::Model, client::Client, transport::UpstreamResponse};
use crate::{
    error::Error,
    routing::Rendered,
    telemetry::{AttemptOutcome, Record},
};

pub use self::{
    headers::{content_length, is_gateway_header, list_items},
    location::{OwnAddress, relocate},
    relay_body::RelayBody,
};

/// A request that can be sent to any endpoint of a model.
pub struct Forward<'a, R> {
    /// The client's method.
    pub method: Method,
    /// Path and query as the client sent them.
    pub path: &'a str,
    /// The client's headers as it sent them.
    pub headers: &'a HeaderMap,
    /// True if the client's own credentials are forwarded: only when the gateway has no client keys.
    pub pass_credentials: bool,
    /// True if the answer is read while it is relayed, for its token counts and its end.
    pub inspect_response: bool,
    /// True if the client is known to have asked for a stream.
    pub is_streaming: bool,
    /// Renders the body for one endpoint, with our switch (true) or without it (false).
    pub render: R,
}

impl<R: Fn(&Endpoint, bool) -> Rendered> Forward<'_, R> {
    /// Sends the request to an endpoint of `model`, and to other endpoints while none has answered.
    ///
    /// The answer's body owns `record`, which is written when the body is dropped. An answer with any status is a success here.
    ///
    /// # Errors
    /// Why no endpoint answered, and the record.
    pub async fn send(
        self,
        client: &Client,
        model: &Model,
        mut record: Box<Record>,
    ) -> Result<Response<RelayBody>, (Error, Box<Record>)> {
        let mut attempts = Attempts::new(&model.endpoints, record.request_id.clone());
        client.retry_budget.deposit();
        let mut next = attempts.candidates().pick();
        while let Some(endpoint) = next {
            attempts.tried.push(endpoint.clone());
            record.attempts += 1;
            let in_flight = endpoint.begin_request();
            let sent = Instant::now();
            let attempt = self.attempt(client, model, &endpoint, &record.span);
            let answer = pin!(self.answer_to(&attempt)); // pinned here: a future passed by value would be stored twice
            let answer = client.worker_abort_token().run_until_cancelled(answer);
            let result = answer.await.unwrap_or(Err(Error::Stopping.into()));
            client
                .metrics
                .count_attempt(&model.name, &endpoint.url_label, outcome(&result));
            if result.is_ok() {
                record.headers_s = Some(sent.elapsed().as_secs_f64());
            }
            next = match attempts.record(&model.name, in_flight, sent, result) {
                true => attempts.next_endpoint(client, &model.name),
                false => None,
            };
        }
        // A server's own answer, even a 503, says more than our failure to reach another endpoint.
        match attempts.answered {
            Some((mut response, attempt)) => {
                let endpoint = attempt.in_flight.endpoint();
                let own = OwnAddress {
                    base: endpoint.url.as_str(),
                    any_scheme: false,
                };
                if let Err(error) = relocate(response.status(), response.headers_mut(), own) {
                    endpoint.on_complete(attempt.sent); // its answer was whole
                    record.endpoint = Some(endpoint.url_label.clone());
                    return Err((error, record));
                }
                Ok(self.relay(client, response, record, attempt))
            }
            None => {
                let last = attempts.tried.last();
                record.endpoint = last.map(|endpoint| endpoint.url_label.clone());
                let failed = attempts.failure.map(|failure| failure.error);
                let none = || Error::NoEndpoint(format!("model `{}`", model.name));
                Err((failed.unwrap_or_else(none), record))
            }
        }
    }

    fn attempt<'s>(
        &'s self,
        client: &'s Client,
        model: &'s Model,
        endpoint: &'s Endpoint,
        span: &'s Span,
    ) -> Attempt<'s> {
        Attempt {
            client,
            model: &model.name,
            endpoint,
            method: &self.method,
            path: self.path,
            headers: ForwardHeaders {
                client: self.headers,
                inspect_response: self.inspect_response,
                pass_credentials: self.pass_credentials,
            },
            is_streaming: self.is_streaming,
            span,
        }
    }

    /// The answer to one attempt. If the server rejects our switch, the request is sent again without it.
    async fn answer_to(&self, attempt: &Attempt<'_>) -> Result<Answer, AttemptError> {
        let (client, endpoint) = (attempt.client, attempt.endpoint);
        let rejects_switch = endpoint.rejects_switch();
        let rendered = (self.render)(endpoint, !rejects_switch);
        let response = attempt.send(rendered.body).await?;
        if rendered.fields.is_empty() {
            return Ok(Answer {
                response,
                switch_rejected: rejects_switch,
            });
        }
        let check =
            switch_rejection::check(response, &rendered.fields, client.settings.idle_timeout())
                .await;
        match check.map_err(AttemptError::while_reading)? {
            SwitchCheck::Accepted(response) => Ok(Answer {
                response,
                switch_rejected: false,
            }),
            SwitchCheck::Rejected => {
                tracing::warn!(endpoint = &*endpoint.url_label, fields = ?rendered.fields, "the server refuses our switch; asking without it");
                let plain = (self.render)(endpoint, false);
                let response = attempt.send(plain.body).await?;
                // If this fails too, the first error may have had another cause.
                if response.status().is_success() {
                    endpoint.remember_switch_rejection();
                }
                Ok(Answer {
                    response,
                    switch_rejected: true,
                })
            }
        }
    }

    fn relay(
        self,
        client: &Client,
        response: UpstreamResponse,
        mut record: Box<Record>,
        attempt: AnsweredAttempt,
    ) -> Response<RelayBody> {
        let (parts, body) = response.into_parts();
        let inspect = Inspect::for_response(&parts.headers, self.inspect_response);
        let mut headers = headers::for_client(parts.headers);
        if parts.status == StatusCode::SERVICE_UNAVAILABLE
            && !headers.contains_key(header::RETRY_AFTER)
        {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1")); // vLLM sends none
        }
        record.endpoint = Some(attempt.in_flight.endpoint().url_label.clone());
        record.status = parts.status.as_u16();
        record.stream = inspect.is_sse();
        let mut response = Response::new(RelayBody::new(body, inspect, client, record, attempt));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

/// How an attempt is counted in the metrics.
fn outcome(result: &Result<Answer, AttemptError>) -> AttemptOutcome {
    match result {
        Ok(answer) if attempts::is_retryable_status(answer.response.status()) => {
            AttemptOutcome::Refused
        }
        Ok(_) => AttemptOutcome::Answered,
        Err(failure) => match failure.error {
            Error::Unreachable => AttemptOutcome::Unreachable,
            Error::Timeout { .. } => AttemptOutcome::Timeout,
            _ => AttemptOutcome::Reset,
        },
    }
}
