//! Every way in which a request can fail, with its status, its body and its reason. Nothing else maps a failure to a status.
//!
//! The body is OpenAI's error object, `{"error":{"message","type","param","code"}}`, which every OpenAI client library parses.
//! Internal detail goes to the log, never to the client.

use std::{fmt, time::Duration};

use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// A failure of one request, before or during its response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The body, a header or the path is invalid.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and what would be right.
        message: String,
        /// The invalid field: OpenAI's `param`.
        param: Option<String>,
    },
    /// The request has no API key, or one that is not configured.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// There is no configured or discovered model of this name.
    #[error("The model `{model}` does not exist. Models here: {known}.")]
    ModelNotFound {
        /// The name that the client sent.
        model: String,
        /// The names that exist, for the message.
        known: String,
    },
    /// The API key may not be used for this model, which may or may not exist.
    #[error("{}", not_allowed(.0.as_deref()))]
    ModelNotAllowed(
        /// The name that the client sent, if any.
        Option<String>,
    ),
    /// The gateway has no such path.
    #[error("{0}")]
    RouteNotFound(String),
    /// The request asks for something that the gateway does not do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The path and the query are longer than the HTTP library takes.
    #[error("The path and the query are too long: over 65,534 bytes.")]
    PathTooLong,
    /// The request has more or longer headers than the gateway takes.
    #[error("The request has too many or too long headers: over 100, or over some 400 KB.")]
    HeadersTooLarge,
    /// The process has no file descriptor left for a connection.
    #[error(
        "The gateway has no file descriptor left for another connection (ulimit -n); try again shortly."
    )]
    NoDescriptor,
    /// The path does not take this method.
    #[error("Method {0} is not allowed here.")]
    MethodNotAllowed(String),
    /// The body is in a coding (`content-encoding`), which is not undone here.
    #[error("The request body is in the coding `{0}` (content-encoding); send it without one.")]
    UnsupportedCoding(
        /// The coding, as the client wrote it.
        String,
    ),
    /// The body is larger than `server.max_body_bytes`.
    #[error("The request body is larger than the limit of {limit} bytes (server.max_body_bytes).")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The `requests_per_minute` of the API key are used up.
    #[error("The rate limit of this API key is reached; try again in {retry_s} s.")]
    RateLimited {
        /// When the next request may come, in whole seconds, at least 1.
        retry_s: u64,
    },
    /// The gateway has no room for another request.
    #[error("{0}")]
    Overloaded(Overload),
    /// The requests in flight of the API key are at its own limit.
    #[error(
        "This API key has its limit of {limit} requests in flight (max_in_flight of the key); try again shortly."
    )]
    KeyOverloaded {
        /// The limit.
        limit: usize,
    },
    /// No endpoint of the model can take the request.
    #[error("No endpoint is available for {0}; try again shortly.")]
    NoEndpoint(String),
    /// No endpoint could be connected to, or no host name resolved.
    #[error("Could not connect to the model server.")]
    Unreachable,
    /// The connection to the model server ended before its response did.
    #[error("The model server closed the connection before its answer was complete.")]
    Reset,
    /// The model server redirects to an address that is not the gateway's.
    #[error("The model server redirects to another address, which the gateway does not pass on.")]
    ForeignRedirect,
    /// The model server exceeded a time limit.
    #[error("The model server did not answer within {setting} = {limit_ms} ms.")]
    Timeout {
        /// The limit, as the configuration names it.
        setting: Limit,
        /// Its value, in milliseconds.
        limit_ms: u64,
    },
    /// The gateway is shutting down, and the drain time is over.
    #[error("The gateway is stopping; send the request again.")]
    Stopping,
    /// The client sent its body too slowly.
    #[error("The request body came too slowly: over {setting} = {limit_ms} ms.")]
    BodyTimeout {
        /// The limit, as the configuration names it.
        setting: Limit,
        /// Its value, in milliseconds.
        limit_ms: u64,
    },
    /// The client stopped before its body was complete.
    #[error("The request body ended early.")]
    IncompleteBody,
    /// A bug in the gateway.
    #[error("Internal error.")]
    Internal,
}

/// What the gateway has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// `server.max_in_flight` requests are being served.
    #[error("Too many requests in flight; try again shortly.")]
    Places,
    /// The places that are left are kept for others.
    #[error("Too many requests in flight from this client; try again shortly.")]
    Share,
    /// The bodies of all requests together are at `server.max_buffered_bytes`.
    #[error("Too many request bodies are arriving (server.max_buffered_bytes); try again shortly.")]
    Bodies,
}

/// The time limits of a request, as the configuration names them. Those on the client are under `server`, those on the model server
/// under `upstream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The whole request body.
    Body,
    /// The time between two pieces of the request body.
    BodyIdle,
    /// The connection to the model server.
    Connect,
    /// From the sent request to the response headers.
    Headers,
    /// From the response headers to the first body byte.
    FirstChunk,
    /// The time between two chunks of the response body.
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

/// The message names only the client's model: the key may not learn which others exist.
fn not_allowed(model: Option<&str>) -> String {
    match model {
        Some(model) => format!("This API key may not be used for the model `{model}`."),
        None => "The request names no model that this API key may be used for.".into(),
    }
}

impl Error {
    /// A 400 without a field.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            param: None,
        }
    }

    /// A 400 that names the invalid field.
    pub fn invalid_field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            param: Some(param.into()),
        }
    }

    /// A 504 that names the exceeded limit.
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
            Self::UnsupportedCoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } | Self::Overloaded(_) | Self::KeyOverloaded { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NoEndpoint(_) | Self::Stopping | Self::NoDescriptor => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unreachable | Self::Reset | Self::ForeignRedirect => StatusCode::BAD_GATEWAY,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::PathTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// OpenAI's `type` of the error.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } | Self::Overloaded(_) | Self::KeyOverloaded { .. } => {
                "rate_limit_error"
            }
            Self::Unsupported(_) => "invalid_request_error",
            error if error.status().is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// OpenAI's `code` of the error, if any. It is also the reason in the log and the metrics.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Unauthorized(_) => Some("invalid_api_key"),
            Self::ModelNotFound { .. } => Some("model_not_found"),
            Self::ModelNotAllowed(_) => Some("model_not_allowed"),
            Self::RateLimited { .. } | Self::KeyOverloaded { .. } => Some("rate_limit_exceeded"),
            Self::Overloaded(_) => Some("overloaded"),
            Self::NoEndpoint(_) => Some("no_endpoint"),
            Self::Stopping => Some("stopping"),
            Self::Unreachable => Some("upstream_unreachable"),
            Self::Reset => Some("upstream_reset"),
            Self::NoDescriptor => Some("no_descriptor"),
            Self::ForeignRedirect => Some("upstream_redirect"),
            Self::Timeout { .. } => Some("upstream_timeout"),
            Self::Internal => Some("internal"),
            _ => None,
        }
    }

    /// A short word for logs and metrics, from a closed set.
    pub fn reason(&self) -> &'static str {
        self.code().unwrap_or(match self {
            Self::UnsupportedCoding(_) => "unsupported_coding",
            Self::BodyTooLarge { .. } => "too_large",
            Self::RouteNotFound(_) => "route_not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::Unsupported(_) => "unsupported",
            Self::PathTooLong => "path_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::BodyTimeout { .. } => "body_timeout",
            Self::IncompleteBody => "incomplete",
            _ => "invalid_request",
        })
    }

    /// Seconds for the `Retry-After` header, for failures that pass without a change to the request.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_s } => Some(*retry_s),
            Self::Overloaded(_)
            | Self::KeyOverloaded { .. }
            | Self::NoEndpoint(_)
            | Self::Stopping
            | Self::NoDescriptor => Some(1),
            _ => None,
        }
    }

    /// The headers of the error response.
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let json = HeaderValue::from_static("application/json");
        let retry_after = self.retry_after().map(HeaderValue::from);
        let bearer =
            matches!(self, Self::Unauthorized(_)).then(|| HeaderValue::from_static("Bearer"));
        // The rest of the body may still come, and must not be read as the next request (RFC 9110, 15.5.9).
        let close =
            matches!(self, Self::BodyTimeout { .. }).then(|| HeaderValue::from_static("close"));
        // What would be accepted (RFC 9110, 15.5.16).
        let identity = matches!(self, Self::UnsupportedCoding(_))
            .then(|| HeaderValue::from_static("identity"));
        [
            (header::CONTENT_TYPE, Some(json)),
            (header::ACCEPT_ENCODING, identity),
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

    /// The SSE event that ends a stream with this error.
    pub fn sse_event(&self) -> String {
        let error = json!({"error": {"message": self.to_string(), "type": self.kind(), "code": self.code()}});
        format!("data: {error}\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_openais_error_object() {
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
    fn failures_that_pass_have_a_retry_after() {
        assert_eq!(Error::Overloaded(Overload::Places).retry_after(), Some(1));
        assert_eq!(Error::NoEndpoint("model `m`".into()).retry_after(), Some(1));
        assert_eq!(Error::KeyOverloaded { limit: 2 }.retry_after(), Some(1));
        assert_eq!(Error::RateLimited { retry_s: 7 }.retry_after(), Some(7));
        assert_eq!(Error::Reset.retry_after(), None);
    }
}
