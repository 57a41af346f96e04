//! One request to one server, until the head of its answer.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::time::timeout;
use tracing::Span;

use super::{Client, Endpoint, client::Connections, sending};
use crate::{
    error::{Error, Limit},
    telemetry::inject,
};

/// A connection that its server closed while it lay unused is found dead by the time its answer would take to begin.
const FOUND_DEAD: Duration = Duration::from_millis(100);
/// A server whose loop stands still, as vLLM's does under load, closes a connection that lay unused for too long as soon as it
/// goes on, without a look at what was sent meanwhile. What fails later was at work.
const FOUND_DEAD_LATE: Duration = Duration::from_secs(10);

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
    /// Sends the request with this body. A connection that is found dead is replaced, once: that is no new attempt, but taken
    /// from the budget, since it may have died of the request.
    ///
    /// # Errors
    /// Why there is no answer; a status, whichever it is, is one.
    pub async fn ask(&self, body: Bytes) -> Result<reqwest::Response, Error> {
        let connections = self.client.connections();
        let (sent, made) = (Instant::now(), connections.made());
        let answered = self.ask_once(connections, body.clone()).await;
        let patience = match connections.made() == made {
            true => FOUND_DEAD_LATE, // it surely was an old one
            false => FOUND_DEAD,
        };
        match answered {
            Err(Error::Reset) if sent.elapsed() < patience && self.client.budget.spend() => {
                self.ask_once(connections, body).await
            }
            answered => answered,
        }
    }

    async fn ask_once(
        &self,
        connections: &Connections,
        body: Bytes,
    ) -> Result<reqwest::Response, Error> {
        let url = self.endpoint.at(self.path)?;
        let mut request = reqwest::Request::new(self.method.clone(), url);
        *request.headers_mut() = self.headers();
        if !(body.is_empty() && bodyless(self.method)) {
            *request.body_mut() = Some(sending::body(body));
        }
        let limits = self.client.limits;
        match timeout(limits.headers, connections.http.execute(request)).await {
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
