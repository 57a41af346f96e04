//! Why a request failed: one closed list, and the only place where a failure becomes a status, a body and a reason.
//!
//! The body is OpenAI's error object, `{"error":{"message","type","param","code"}}`, because that is what every client
//! library of ours parses. Internal detail goes to the log, never to the client.

use std::{fmt, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// Everything a request can suffer before or while it is answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body, a header or the path cannot be what the client meant.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what would be right.
        message: String,
        /// The field at fault, as OpenAI's `param`.
        param: Option<String>,
    },
    /// No key, or one that is not configured.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// A model name that is neither configured nor discovered.
    #[error("The model `{model}` does not exist. Models here: {known}.")]
    ModelNotFound {
        /// The name the client sent.
        model: String,
        /// The names that would have worked, for the message.
        known: String,
    },
    /// A model that the key of the request may not be used for, whether there is one or not.
    #[error("{}", not_allowed(.0.as_deref()))]
    ModelNotAllowed(
        /// The name the client sent, if it sent one.
        Option<String>,
    ),
    /// A path that is not ours.
    #[error("{0}")]
    RouteNotFound(String),
    /// A path that is ours with a method that is not.
    #[error("Method {0} is not allowed here.")]
    MethodNotAllowed(String),
    /// A body over `server.max_body_bytes`.
    #[error("The request body is larger than the limit of {limit} bytes (server.max_body_bytes).")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The key's `requests_per_minute` are used up.
    #[error("The rate limit of this API key is reached; try again in {retry_s} s.")]
    RateLimited {
        /// When the next request may come, in whole seconds, at least one.
        retry_s: u64,
    },
    /// `server.max_in_flight` requests are already being served.
    #[error("Too many requests in flight; try again shortly.")]
    Overloaded,
    /// No endpoint of the model can take the request.
    #[error("No endpoint is available for {0}; try again shortly.")]
    NoEndpoint(String),
    /// Every endpoint that was tried refused the connection, or its name did not resolve.
    #[error("Could not connect to the model server.")]
    Unreachable,
    /// The connection ended before the answer did.
    #[error("The model server closed the connection before its answer was complete.")]
    Reset,
    /// A named limit passed.
    #[error("The model server did not answer within {setting} = {limit_ms} ms.")]
    Timeout {
        /// Which limit, by its name in the configuration.
        setting: Limit,
        /// Its value, in milliseconds.
        limit_ms: u64,
    },
    /// The gateway was told to stop, and the time for running answers to finish is over.
    #[error("The gateway is stopping; send the request again.")]
    Stopping,
    /// The client took longer over its body than a limit allows.
    #[error("The request body came too slowly: over {setting} = {limit_ms} ms.")]
    BodyTimeout {
        /// Which limit, by its name in the configuration.
        setting: Limit,
        /// Its value, in milliseconds.
        limit_ms: u64,
    },
    /// The client stopped sending before its body was complete.
    #[error("The request body ended early.")]
    IncompleteBody,
    /// A defect of ours.
    #[error("Internal error.")]
    Internal,
}

/// The waits of a request that have a limit, by their names in the configuration: on its client under `server`, on a model server
/// under `upstream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// For the whole request body.
    Body,
    /// Between two pieces of it.
    BodyIdle,
    /// Until the connection stands.
    Connect,
    /// From the request sent to the response headers.
    Headers,
    /// From the response headers to the first body byte.
    FirstChunk,
    /// Between two body chunks.
    Idle,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "server.body_ms",
            Self::BodyIdle => "server.body_idle_ms",
            Self::Connect => "upstream.connect_ms",
            Self::Headers => "upstream.headers_ms",
            Self::FirstChunk => "upstream.first_chunk_ms",
            Self::Idle => "upstream.idle_ms",
        })
    }
}

/// Names no model but the client's own: which others there are is not for this key to know.
fn not_allowed(model: Option<&str>) -> String {
    match model {
        Some(model) => format!("This API key may not be used for the model `{model}`."),
        None => "The request names no model that this API key may be used for.".into(),
    }
}

impl Error {
    /// A 400 without a field to blame.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            param: None,
        }
    }

    /// A 400 that names the field at fault.
    pub fn invalid_field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            param: Some(param.into()),
        }
    }

    /// A 504 by the name of the limit that passed.
    pub fn timeout(setting: Limit, limit: Duration) -> Self {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Self::Timeout { setting, limit_ms }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } | Self::IncompleteBody => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::ModelNotAllowed(_) => StatusCode::FORBIDDEN,
            Self::ModelNotFound { .. } | Self::RouteNotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } | Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::NoEndpoint(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Reset => StatusCode::BAD_GATEWAY,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// OpenAI's `type` of the error.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } | Self::Overloaded => "rate_limit_error",
            error if error.status().is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// OpenAI's `code` of the error, when there is one; also the reason in the log line and the metrics.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized(_) => Some("invalid_api_key"),
            Self::ModelNotFound { .. } => Some("model_not_found"),
            Self::ModelNotAllowed(_) => Some("model_not_allowed"),
            Self::RateLimited { .. } => Some("rate_limit_exceeded"),
            Self::Overloaded => Some("overloaded"),
            Self::NoEndpoint(_) => Some("no_endpoint"),
            Self::Stopping => Some("stopping"),
            Self::Unreachable => Some("upstream_unreachable"),
            Self::Reset => Some("upstream_reset"),
            Self::Timeout { .. } => Some("upstream_timeout"),
            Self::Internal => Some("internal"),
            _ => None,
        }
    }

    /// A short word for logs and metrics; always there, from a closed set.
    pub fn reason(&self) -> &'static str {
        self.code().unwrap_or(match self {
            Self::BodyTooLarge { .. } => "too_large",
            Self::RouteNotFound(_) => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::IncompleteBody => "incomplete",
            _ => "invalid_request",
        })
    }

    /// Seconds for a `Retry-After` header, for failures that pass by themselves.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_s } => Some(*retry_s),
            Self::Overloaded | Self::NoEndpoint(_) | Self::Stopping => Some(1),
            _ => None,
        }
    }

    /// The headers that go with the body.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let json = HeaderValue::from_static("application/json");
        let retry_after = self.retry_after().map(HeaderValue::from);
        let bearer =
            matches!(self, Self::Unauthorized(_)).then(|| HeaderValue::from_static("Bearer"));
        // What still comes of a body that is waited for no longer is no request (RFC 9110, 15.5.9).
        let close =
            matches!(self, Self::BodyTimeout { .. }).then(|| HeaderValue::from_static("close"));
        [
            (header::CONTENT_TYPE, Some(json)),
            (header::RETRY_AFTER, retry_after),
            (header::WWW_AUTHENTICATE, bearer),
            (header::CONNECTION, close),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// OpenAI's error body.
    pub fn body(&self) -> Value {
        let param = match self {
            Self::Invalid { param, .. } => param.clone(),
            Self::ModelNotFound { .. } | Self::ModelNotAllowed(_) => Some("model".to_owned()),
            _ => None,
        };
        json!({"error": {
            "message": self.to_string(), "type": self.kind(), "param": param, "code": self.code(),
        }})
    }

    /// The event that tells a client in the middle of an SSE stream why nothing more will come.
    pub fn sse_event(&self) -> String {
        let error = json!({"error": {"message": self.to_string(), "type": self.kind(), "code": self.code()}});
        format!("data: {error}\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_openais() {
        let error = Error::Timeout {
            setting: Limit::Idle,
            limit_ms: 5,
        };
        assert_eq!(error.status(), 504);
        assert_eq!(
            error.body().to_string(),
            r#"{"error":{"message":"The model server did not answer within upstream.idle_ms = 5 ms.","type":"server_error","param":null,"code":"upstream_timeout"}}"#
        );
    }

    #[test]
    fn a_client_is_told_when_to_come_back() {
        assert_eq!(Error::Overloaded.retry_after(), Some(1));
        assert_eq!(Error::NoEndpoint("model `m`".into()).retry_after(), Some(1));
        assert_eq!(Error::RateLimited { retry_s: 7 }.retry_after(), Some(7));
        assert_eq!(Error::Reset.retry_after(), None);
    }
}
