//! One request on its way: an endpoint with room, the bytes for it, and another one if nothing was answered yet.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use tokio::time::timeout;

use super::{Client, Endpoint, Model, Relay, body::Look, endpoint, headers};
use crate::{
    error::{Error, Limit},
    telemetry::{Attempt, Record, inject},
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
    /// The body for one endpoint.
    pub render: R,
}

impl<R: Fn(&Endpoint) -> Bytes> Forward<'_, R> {
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
        let headers = headers::for_upstream(self.headers, self.looked_at);
        let mut tried: Vec<Arc<Endpoint>> = Vec::with_capacity(1);
        let mut failure = Error::NoEndpoint(format!("model `{}`", model.name));
        while let Some(endpoint) = endpoint::pick(&model.endpoints, &tried) {
            tried.push(endpoint.clone());
            record.attempts += 1;
            let others =
                tried.len() < model.endpoints.len() && record.attempts <= client.limits.retries;
            let running = endpoint.enter();
            let sent = Instant::now();
            match self
                .attempt(client, &endpoint, headers.clone(), &record)
                .await
            {
                Ok(response) => {
                    let refused = asks_for_another(response.status());
                    let outcome = if refused {
                        Attempt::Refused
                    } else {
                        Attempt::Answered
                    };
                    client
                        .metrics
                        .attempt(&model.name, &endpoint.label, outcome);
                    if refused && others {
                        continue;
                    }
                    record.endpoint = Some(endpoint.label.clone());
                    record.headers_s = Some(sent.elapsed().as_secs_f64());
                    return Ok(self.relay(client, response, record, running, sent));
                }
                Err((error, outcome)) => {
                    client
                        .metrics
                        .attempt(&model.name, &endpoint.label, outcome);
                    record.endpoint = Some(endpoint.label.clone());
                    tracing::warn!(endpoint = &*endpoint.label, model = &*model.name, %error, "attempt failed");
                    failure = error;
                    // A server that was given its time has the request; another would do the work twice.
                    if !others
                        || matches!(
                            failure,
                            Error::Timeout {
                                setting: Limit::Headers,
                                ..
                            }
                        )
                    {
                        break;
                    }
                }
            }
        }
        Err((failure, record))
    }

    async fn attempt(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        mut headers: HeaderMap,
        record: &Record,
    ) -> Result<reqwest::Response, (Error, Attempt)> {
        if !self.pass_credentials {
            headers.remove(header::AUTHORIZATION);
            headers.remove("x-api-key");
        }
        if let Some(key) = endpoint.authorization() {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        inject(&record.span, &mut headers);
        let request = client
            .http
            .request(self.method.clone(), endpoint.url.join(self.path))
            .headers(headers);
        let body = (self.render)(endpoint);
        let request = if body.is_empty() && bodyless(&self.method) {
            request
        } else {
            request.body(body)
        };
        match timeout(client.limits.headers, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(named(&error, client)),
            Err(_) => Err(timed_out(Limit::Headers, client.limits.headers.as_millis())),
        }
    }

    fn relay(
        self,
        client: &Client,
        response: reqwest::Response,
        mut record: Record,
        running: endpoint::InFlight,
        sent: Instant,
    ) -> Response<Relay> {
        let (parts, body) = Response::<reqwest::Body>::from(response).into_parts();
        let mut headers = headers::for_client(&parts.headers);
        if parts.status == StatusCode::SERVICE_UNAVAILABLE
            && !headers.contains_key(header::RETRY_AFTER)
        {
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static("1")); // vLLM sends none
        }
        record.status = parts.status.as_u16();
        let look = Look::at(&parts.headers, self.looked_at);
        record.stream = look.is_sse();
        let mut response =
            Response::new(Relay::new(body, look, client.limits, record, running, sent));
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

/// Statuses that say "not me, not now": another endpoint may take the request.
fn asks_for_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Methods that have no body unless one was sent.
fn bodyless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    )
}

fn named(error: &reqwest::Error, client: &Client) -> (Error, Attempt) {
    match (error.is_connect(), error.is_timeout()) {
        (_, true) => timed_out(Limit::Connect, client.limits.connect.as_millis()),
        (true, _) => (Error::Unreachable, Attempt::Unreachable),
        _ => (Error::Reset, Attempt::Reset),
    }
}

fn timed_out(setting: Limit, limit_ms: u128) -> (Error, Attempt) {
    (
        Error::Timeout {
            setting,
            limit_ms: u64::try_from(limit_ms).unwrap_or(u64::MAX),
        },
        Attempt::Timeout,
    )
}
