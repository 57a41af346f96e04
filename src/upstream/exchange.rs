//! One request to one server, until the head of its answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, header};
use tokio::time::timeout;
use tracing::Span;

use super::{Client, Endpoint, headers::Head, reply::Reply, sending::Sending, wire::Lost};
use crate::{
    error::{Error, Limit},
    telemetry::{AttemptOutcome, inject},
};

/// A connection that its server closed while it lay unused is found dead by the time its answer would take to begin. What fails
/// later may have been at work.
const FOUND_DEAD: Duration = Duration::from_millis(100);

/// A request without its body, on its way to one endpoint.
pub struct Exchange<'a> {
    /// Sends it.
    pub client: &'a Client,
    /// The model it is for.
    pub model: &'a Arc<str>,
    /// Where it goes.
    pub endpoint: &'a Endpoint,
    /// Its method.
    pub method: &'a Method,
    /// Path and query.
    pub path: &'a str,
    /// Its headers, but for those of the endpoint.
    pub head: Head<'a>,
    /// Whether the client is known to have asked for a stream.
    pub streams: bool,
    /// The span it is part of.
    pub span: &'a Span,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub error: Error,
    /// True when it happened on a connection that had been used before.
    pub was_kept: bool,
    /// True when the answer had begun.
    pub had_begun: bool,
}

impl From<Error> for Failure {
    /// One that has nothing to do with the connection.
    fn from(error: Error) -> Self {
        Self {
            error,
            was_kept: false,
            had_begun: false,
        }
    }
}

impl Exchange<'_> {
    /// Sends the request with this body. A kept connection that is found dead at once is replaced, once: that is no retry, and
    /// nothing is taken from the budget. It is counted, for the server may have begun to work.
    ///
    /// # Errors
    /// Why there is no answer; a status, whichever it is, is one.
    pub async fn ask(&self, body: Bytes) -> Result<Reply, Failure> {
        let sent = Instant::now();
        let failure = match self.ask_once(body.clone()).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let is_dead = failure.was_kept && failure.error == Error::Reset;
        if !is_dead || sent.elapsed() >= FOUND_DEAD {
            return Err(failure);
        }
        let metrics = &self.client.metrics;
        metrics.count_attempt(self.model, &self.endpoint.label, AttemptOutcome::Replaced);
        self.ask_once(body).await
    }

    async fn ask_once(&self, body: Bytes) -> Result<Reply, Failure> {
        let (origin, path) = self.endpoint.at(self.path)?;
        let has_none = body.is_empty();
        // In one place of its own: every wait on the way keeps it, and would be larger by it.
        let mut request = Box::new(Request::new(Sending::from(body)));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = path;
        *request.headers_mut() = self.headers();
        if has_none && !bodyless(self.method) {
            let nothing = HeaderValue::from_static("0");
            request
                .headers_mut()
                .insert(header::CONTENT_LENGTH, nothing);
        }
        let limits = self.client.limits;
        let asked = self.client.wire().ask(origin, request, self.streams);
        let asked = timeout(limits.headers, asked);
        match asked.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(lost)) => Err(Failure {
                error: match lost {
                    Lost::TooLong => Error::timeout(Limit::Connect, limits.connect),
                    Lost::Unreachable => Error::Unreachable,
                    Lost::Ended { .. } | Lost::Unreadable => Error::Reset,
                },
                was_kept: lost == Lost::Ended { was_kept: true },
                had_begun: lost == Lost::Unreadable,
            }),
            Err(_) => Err(Error::timeout(Limit::Headers, limits.headers).into()),
        }
    }

    /// With the endpoint's key, and our span.
    fn headers(&self) -> HeaderMap {
        let mut headers = self.head.for_upstream();
        if let Some(key) = self.endpoint.authorization() {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        inject(self.span, &mut headers);
        headers
    }
}

/// Methods that have no body unless one was sent.
fn bodyless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}
