//! One request to one server, until the head of its answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::time::timeout;
use tracing::Span;

use super::{Client, Endpoint, sending};
use crate::{
    error::{Error, Limit},
    telemetry::inject,
};

/// A connection that its server closed while it lay unused is found dead by the time its answer would take to begin. What fails
/// later may have been at work.
const FOUND_DEAD: Duration = Duration::from_millis(100);

/// A request without its body, on its way to one endpoint.
pub struct Exchange<'a> {
    /// Sends it.
    pub client: &'a Client,
    /// Where it goes.
    pub endpoint: &'a Endpoint,
    /// Its method.
    pub method: &'a Method,
    /// Path and query.
    pub path: &'a str,
    /// Its headers, but for those of the endpoint.
    pub headers: &'a HeaderMap,
    /// The span it is part of.
    pub span: &'a Span,
}

impl Exchange<'_> {
    /// Sends the request with this body. A connection that is found dead at once is replaced, once: that is no new
    /// attempt, but taken from the budget, since only the time tells that it had been in use before.
    ///
    /// # Errors
    /// Why there is no answer; a status, whichever it is, is one.
    pub async fn ask(&self, body: Bytes) -> Result<reqwest::Response, Error> {
        let sent = Instant::now();
        match self.ask_once(body.clone()).await {
            Err(Error::Reset) if sent.elapsed() < FOUND_DEAD && self.client.budget.spend() => {
                self.ask_once(body).await
            }
            answered => answered,
        }
    }

    async fn ask_once(&self, body: Bytes) -> Result<reqwest::Response, Error> {
        let url = self.endpoint.at(self.path)?;
        let mut request = reqwest::Request::new(self.method.clone(), url);
        *request.headers_mut() = self.headers();
        if !(body.is_empty() && bodyless(self.method)) {
            *request.body_mut() = Some(sending::body(body));
        }
        let limits = self.client.limits;
        match timeout(
            limits.headers,
            self.client.connections().http.execute(request),
        )
        .await
        {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.named(&error)),
            Err(_) => Err(Error::timeout(Limit::Headers, limits.headers)),
        }
    }

    /// With the endpoint's key, and our span.
    fn headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(key) = self.endpoint.authorization() {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        inject(self.span, &mut headers);
        headers
    }

    fn named(&self, error: &reqwest::Error) -> Error {
        match (error.is_connect(), error.is_timeout()) {
            (_, true) => Error::timeout(Limit::Connect, self.client.limits.connect),
            (true, _) => Error::Unreachable,
            _ => Error::Reset,
        }
    }
}

/// Methods that have no body unless one was sent.
fn bodyless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}
