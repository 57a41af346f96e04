//! The answers to what never becomes a request: bytes that are not HTTP, a path or headers that are too long, and a connection for
//! which there is no file descriptor. They have a body, an id, a log line and a metric like any other.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::{
    error::Error,
    net::OwnAnswer,
    pipeline::{self, REQUEST_ID, RequestId, RequestInfo},
    state::{AppState, StateHandle},
    telemetry::RequestLine,
};

/// Makes such an answer for a status.
pub fn own_answer(handle: StateHandle) -> OwnAnswer {
    Arc::new(move |status| answer(&handle.load(), &error_of(status)))
}

fn error_of(status: StatusCode) -> Error {
    match status {
        StatusCode::URI_TOO_LONG => Error::PathTooLong,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Error::HeadersTooLarge,
        StatusCode::SERVICE_UNAVAILABLE => Error::NoDescriptor,
        _ => Error::invalid(
            "The request line or a header is not valid HTTP, or the path has a character that must be percent-encoded.",
        ),
    }
}

/// Records the failure and writes the whole answer, HTTP/1.1.
fn answer(state: &AppState, error: &Error) -> Bytes {
    let id = RequestId::of(&HeaderMap::new());
    let info = RequestInfo {
        route: "-",
        line: RequestLine::default(),
        id: id.clone(),
        caller: None,
        peer: None,
    };
    pipeline::reject(state, info, error);
    let (status, body) = (error.status(), error.body().to_string());
    let reason = status.canonical_reason().unwrap_or_default();
    let mut answer = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16());
    for (name, value) in error.headers() {
        let _ = write!(answer, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let _ = write!(
        answer,
        "{REQUEST_ID}: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        id.text,
        body.len()
    );
    answer.into()
}
