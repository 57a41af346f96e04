//! One request to one endpoint, up to the head of the answer.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, header};
use reqwest::{Body, Request};
use tokio::time::timeout;
use tracing::Span;

use super::headers::ForwardHeaders;
use crate::{
    api::BodyPieces,
    error::{Error, Limit},
    telemetry::{AttemptOutcome, inject},
    upstream::{
        balance::Endpoint,
        client::Client,
        transport::{RequestBody, TransportError, UpstreamResponse},
    },
};

/// A reused connection that the server closed while it was idle fails within this time. If it fails later, the server may have
/// worked on the request.
const STALE_CONNECTION_WINDOW: Duration = Duration::from_millis(100);

/// A request without its body, addressed to one endpoint.
pub struct Attempt<'a> {
    /// Sends it.
    pub client: &'a Client,
    /// The model's name at the gateway.
    pub model: &'a Arc<str>,
    /// The receiver.
    pub endpoint: &'a Endpoint,
    /// The client's method.
    pub method: &'a Method,
    /// Path and query.
    pub path: &'a str,
    /// Its headers, without those that the endpoint adds.
    pub headers: ForwardHeaders<'a>,
    /// True if the client is known to have asked for a stream.
    pub is_streaming: bool,
    /// The request's span, which becomes the parent of the server's.
    pub span: &'a Span,
}

/// The answer to an attempt.
pub struct Answer {
    /// The server's response, whatever its status.
    pub response: UpstreamResponse,
    /// True if the server answered only without our switch.
    pub switch_rejected: bool,
}

/// Why an attempt got no answer.
#[derive(Debug)]
pub struct AttemptError {
    /// What happened.
    pub error: Error,
    /// The cause in words, for the log.
    pub cause: Cow<'static, str>,
    /// True if it happened on a connection that had carried another request before.
    pub on_reused_connection: bool,
    /// True if the response had begun.
    pub response_began: bool,
}

impl From<Error> for AttemptError {
    /// A failure that has nothing to do with the connection.
    fn from(error: Error) -> Self {
        Self {
            cause: match &error {
                Error::Timeout { setting, limit_ms } => {
                    format!("timed out: {setting} = {limit_ms} ms").into()
                }
                Error::Reset => "closed while its answer was read".into(),
                error => error.to_string().into(),
            },
            error,
            on_reused_connection: false,
            response_began: false,
        }
    }
}

impl AttemptError {
    /// A failure while the response's body was read.
    pub fn while_reading(error: Error) -> Self {
        Self {
            response_began: true,
            ..error.into()
        }
    }
}

impl Attempt<'_> {
    /// Sends the request with this body. If a reused connection turns out to be closed, the request is sent once more.
    ///
    /// That second try is no retry: it takes nothing from the budget. It is counted as `replaced`, because the server may have
    /// begun to work on the first.
    ///
    /// # Errors
    /// Why there is no answer. A response with any status is an answer.
    pub async fn send(&self, body: BodyPieces) -> Result<UpstreamResponse, AttemptError> {
        let sent = Instant::now();
        let failure = match self.send_once(body.clone()).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let is_stale = failure.on_reused_connection && failure.error == Error::Reset;
        if !is_stale || sent.elapsed() >= STALE_CONNECTION_WINDOW {
            return Err(failure);
        }
        let metrics = &self.client.metrics;
        metrics.count_attempt(
            self.model,
            &self.endpoint.url_label,
            AttemptOutcome::Replaced,
        );
        self.send_once(body).await
    }

    async fn send_once(&self, body: BodyPieces) -> Result<UpstreamResponse, AttemptError> {
        let url = self.endpoint.target(self.path)?;
        let mut request = Request::new(self.method.clone(), url);
        *request.headers_mut() = self.headers();
        if !body.is_empty() {
            *request.body_mut() = Some(Body::wrap(RequestBody::from(body)));
        } else if !is_bodyless(self.method) {
            let zero = HeaderValue::from_static("0");
            request.headers_mut().insert(header::CONTENT_LENGTH, zero);
        }
        let settings = &self.client.settings;
        let transport = self.client.worker_transport();
        let response = transport.send(request, self.is_streaming);
        match timeout(settings.headers_timeout(), response).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.failure(error)),
            Err(_) => Err(Error::timeout(Limit::Headers, settings.headers_timeout()).into()),
        }
    }

    /// A failure of the connection as one of the attempt.
    fn failure(&self, error: TransportError) -> AttemptError {
        let with_cause = |error: Error, cause: String| AttemptError {
            cause: cause.into(),
            ..error.into()
        };
        match error {
            TransportError::ConnectTimeout => {
                Error::timeout(Limit::Connect, self.client.settings.connect_timeout()).into()
            }
            TransportError::Unreachable(cause) => with_cause(Error::Unreachable, cause),
            TransportError::NoDescriptor => Error::NoDescriptor.into(),
            TransportError::Closed {
                on_reused_connection,
                cause,
            } => AttemptError {
                on_reused_connection,
                ..with_cause(Error::Reset, cause)
            },
            TransportError::Malformed(cause) => AttemptError {
                response_began: true,
                ..with_cause(
                    Error::Reset,
                    format!("the head of its answer cannot be read: {cause}"),
                )
            },
        }
    }

    /// The client's headers, the endpoint's key and our trace context.
    fn headers(&self) -> HeaderMap {
        let mut headers = self.headers.for_upstream();
        if let Some(key) = self.endpoint.authorization() {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        inject(self.span, &mut headers);
        headers
    }
}

/// True for methods whose requests need no `Content-Length: 0` when they have no body.
fn is_bodyless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}
