//! The attempts of one request so far, and the decision whether there is another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{StatusCode, header};

use super::{
    attempt::{Answer, AttemptError},
    relay_body::AnsweredAttempt,
};
use crate::{
    error::{Error, Limit},
    upstream::{
        balance::{Candidates, Endpoint, InFlight},
        client::Client,
        transport::UpstreamResponse,
    },
};

/// The attempts of one request so far.
pub struct Attempts<'m> {
    /// All endpoints of the model.
    endpoints: &'m [Arc<Endpoint>],
    /// `x-request-id`, for the log.
    request_id: Arc<str>,
    /// The endpoints that the request was sent to, in order.
    pub tried: Vec<Arc<Endpoint>>,
    /// The latest answer.
    pub answered: Option<(UpstreamResponse, AnsweredAttempt)>,
    /// The latest failure.
    pub failure: Option<AttemptError>,
}

impl<'m> Attempts<'m> {
    /// No attempt yet at the `endpoints` of a model.
    pub fn new(endpoints: &'m [Arc<Endpoint>], request_id: Arc<str>) -> Self {
        Self {
            endpoints,
            request_id,
            tried: Vec::with_capacity(1),
            answered: None,
            failure: None,
        }
    }

    /// The endpoints to choose from.
    pub fn candidates(&self) -> Candidates<'_> {
        Candidates {
            endpoints: self.endpoints,
            tried: &self.tried,
            is_unanswered: self.answered.is_none(),
        }
    }

    /// Records how an attempt ended. Returns true if the request may be sent again.
    pub fn record(
        &mut self,
        model: &str,
        in_flight: InFlight,
        sent: Instant,
        result: Result<Answer, AttemptError>,
    ) -> bool {
        let endpoint = in_flight.endpoint();
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                let error = &failure.error;
                let is_ours = matches!(
                    error,
                    Error::Invalid { .. } | Error::Stopping | Error::NoDescriptor
                );
                if !is_ours {
                    endpoint.on_failure(sent);
                }
                let endpoint = &*endpoint.url_label;
                let (request_id, cause) = (&*self.request_id, &*failure.cause);
                tracing::warn!(request_id, endpoint, model, cause, %error, "attempt failed");
                let is_retryable = is_retryable(&failure);
                self.failure = Some(failure);
                return is_retryable;
            }
        };
        let response = answer.response;
        let is_retryable = is_retryable_status(response.status());
        if is_retryable {
            endpoint.on_complete(sent); // its body may never be read, and the status says all
            if let Some(time) = retry_after(&response) {
                endpoint.cool_down(time);
            }
        }
        let attempt = AnsweredAttempt {
            in_flight,
            sent,
            switch_rejected: answer.switch_rejected,
        };
        self.answered = Some((response, attempt));
        is_retryable
    }

    /// The endpoint of the next attempt, if there is one and `upstream.retries` and the retry budget allow it.
    ///
    /// The endpoint is picked last, after the budget was spent, because picking may use up the trial of an ejected endpoint.
    pub fn next_endpoint(&self, client: &Client, model: &Arc<str>) -> Option<Arc<Endpoint>> {
        let same = self.retry_same();
        let has_another = same.is_some() || self.candidates().has_another();
        if self.tried.len() > client.settings.retries as usize || !has_another {
            return None;
        }
        let granted = client.retry_budget.withdraw();
        client.metrics.count_retry(model, granted);
        match granted {
            true => same.or_else(|| self.candidates().pick()),
            false => None,
        }
    }

    /// The first endpoint again, if its reused connection was reset and no other endpoint is up.
    ///
    /// A server whose event loop stalls, as vLLM's does under load, closes connections that were idle for too long as soon as the
    /// loop runs again, without reading what was sent in the meantime.
    fn retry_same(&self) -> Option<Arc<Endpoint>> {
        let may_be_unread = self
            .failure
            .as_ref()
            .is_some_and(|failure| failure.on_reused_connection && failure.error == Error::Reset);
        match &*self.tried {
            [first] if may_be_unread && !self.candidates().has_up() => Some(first.clone()),
            _ => None,
        }
    }
}

/// True for statuses after which another endpoint may take the request.
pub fn is_retryable_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// True for failures after which another endpoint may take the request.
///
/// A server that let `headers_ms` pass may be working on the request, and one whose answer began has worked on it: a retry would
/// do the work twice.
fn is_retryable(failure: &AttemptError) -> bool {
    match &failure.error {
        _ if failure.response_began => false,
        Error::Unreachable | Error::Reset => true,
        Error::Timeout { setting, .. } => *setting == Limit::Connect,
        _ => false,
    }
}

/// The `Retry-After` of an answer in seconds (RFC 9110, 10.2.3). A date is ignored, because the two clocks may differ.
fn retry_after(response: &UpstreamResponse) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    value
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}
