//! What the gateway reads of an answer's body while it relays it.

use bytes::Bytes;
use http::{HeaderMap, header};

use crate::api::{JsonUsage, SseScanner, Usage, is_media_type};

/// How a body is read while it is relayed.
#[derive(Debug)]
pub enum Inspect {
    /// A stream of server-sent events: token counts, and whether it ended properly.
    Sse(Box<SseScanner>),
    /// A JSON answer: token counts.
    Json(JsonUsage),
    /// Not read.
    Skip,
}

impl Inspect {
    /// Chooses by the response's headers. `inspect_response`: whether the request's route has token counts.
    pub fn for_response(headers: &HeaderMap, inspect_response: bool) -> Self {
        let is = |media_type| is_media_type(headers, media_type);
        // We cannot append an event to a body with a length, nor read a compressed one.
        let is_opaque = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::CONTENT_ENCODING);
        match () {
            () if is("text/event-stream") && !is_opaque => Self::Sse(Box::default()),
            () if is("application/json") && inspect_response => Self::Json(JsonUsage::default()),
            () => Self::Skip,
        }
    }

    /// True for a stream of server-sent events.
    pub fn is_sse(&self) -> bool {
        matches!(self, Self::Sse(_))
    }

    /// Reads the next bytes.
    pub fn scan(&mut self, data: &Bytes) {
        match self {
            Self::Sse(scanner) => scanner.scan(data),
            Self::Json(usage) => usage.scan(data),
            Self::Skip => {}
        }
    }

    /// The token counts so far; `None` if the body is not read.
    pub fn usage(&mut self) -> Option<Usage> {
        match self {
            Self::Sse(scanner) => Some(scanner.usage()),
            Self::Json(usage) => Some(usage.finish()),
            Self::Skip => None,
        }
    }

    /// True once a stream has sent its last event. Many clients close the connection then, before the body's framing ends.
    pub fn is_terminated(&self) -> bool {
        matches!(self, Self::Sse(scanner) if scanner.is_terminated())
    }
}
