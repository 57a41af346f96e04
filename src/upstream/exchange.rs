//! One request to one server, until the head of its answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::time::timeout;
use tracing::Span;

use super::{Client, Endpoint, headers::Head, sending};
use crate::{
    error::{Error, Limit},
    telemetry::{Attempt, inject},
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
    pub async fn ask(&self, body: Bytes) -> Result<reqwest::Response, Failure> {
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
        metrics.attempt(self.model, &self.endpoint.label, Attempt::Replaced);
        self.ask_once(body).await
    }

    async fn ask_once(&self, body: Bytes) -> Result<reqwest::Response, Failure> {
        let url = self.endpoint.at(self.path)?;
        let mut request = reqwest::Request::new(self.method.clone(), url);
        *request.headers_mut() = self.headers();
        if !(body.is_empty() && bodyless(self.method)) {
            *request.body_mut() = Some(sending::body(body));
        }
        let (limits, connections) = (self.client.limits, self.client.connections());
        match timeout(limits.headers, connections.http.execute(request)).await {
            Ok(Ok(response)) => {
                connections.kept.carried(response.extensions());
                Ok(response)
            }
            Ok(Err(error)) => Err(Failure {
                was_kept: connections.kept.failed(&error),
                error: named(&error, limits.connect),
                had_begun: false,
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

/// What a failure is called. The system gives up on a connection that stands, too, when its peer is silent for too long: that is no
/// limit of ours that passed.
fn named(error: &reqwest::Error, connect: Duration) -> Error {
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => Error::timeout(Limit::Connect, connect),
        (true, false) => Error::Unreachable,
        _ => Error::Reset,
    }
}

/// Methods that have no body unless one was sent.
fn bodyless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::net::TcpListener;

    use super::*;

    /// How a request ends for which the system gives up while it is sent.
    async fn given_up(url: String) -> reqwest::Error {
        crate::tls::choose_provider();
        let given_up = || io::Error::from(io::ErrorKind::TimedOut);
        let pieces = stream::once(async move { Err::<Frame<Bytes>, _>(given_up()) });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(url);
        let request = request.body(reqwest::Body::wrap(StreamBody::new(pieces)));
        request.send().await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_the_system_gives_up_on_is_not_blamed_on_connect_ms() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let error = given_up(url).await;
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(named(&error, Duration::from_secs(2)), Error::Reset);
    }
}
