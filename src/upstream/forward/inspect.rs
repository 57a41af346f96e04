//! What the gateway reads of an answer's body while it relays it.

use bytes::Bytes;
use http::{HeaderMap, header};

use crate::api::{JsonUsage, SseScanner, Usage, is_media_type};

/// How a body is read while it is relayed.
#[derive(Debug)]
pub enum Inspect {
    /// A stream of server-sent events: token counts, and whether it ended properly.
    Sse {
        /// Reads it.
        scanner: Box<SseScanner>,
        /// False for a stream with a `content-length`: no event can be added to it.
        may_grow: bool,
    },
    /// A JSON answer: token counts.
    Json(JsonUsage),
    /// Not read.
    Skip,
}

impl Inspect {
    /// Chooses by the response's headers. `inspect_response`: whether the request's route has token counts.
    pub fn for_response(headers: &HeaderMap, inspect_response: bool) -> Self {
        let is = |media_type| is_media_type(headers, media_type);
        let is_coded = headers.contains_key(header::CONTENT_ENCODING); // and cannot be read
        match () {
            () if is("text/event-stream") && !is_coded => Self::Sse {
                scanner: Box::default(),
                may_grow: !headers.contains_key(header::CONTENT_LENGTH),
            },
            () if is("application/json") && inspect_response => Self::Json(JsonUsage::default()),
            () => Self::Skip,
        }
    }

    /// True for a stream of server-sent events.
    pub fn is_sse(&self) -> bool {
        matches!(self, Self::Sse { .. })
    }

    /// The reader of a stream to which an event can be added.
    pub fn growing_stream(&self) -> Option<&SseScanner> {
        match self {
            Self::Sse {
                scanner,
                may_grow: true,
            } => Some(scanner),
            _ => None,
        }
    }

    /// Reads the next bytes.
    pub fn scan(&mut self, data: &Bytes) {
        match self {
            Self::Sse { scanner, .. } => scanner.scan(data),
            Self::Json(usage) => usage.scan(data),
            Self::Skip => {}
        }
    }

    /// The token counts so far; `None` if the body is not read.
    pub fn usage(&mut self) -> Option<Usage> {
        match self {
            Self::Sse { scanner, .. } => Some(scanner.usage()),
            Self::Json(usage) => Some(usage.finish()),
            Self::Skip => None,
        }
    }

    /// True once a stream has sent its last event. Many clients close the connection then, before the body's framing ends.
    pub fn is_terminated(&self) -> bool {
        matches!(self, Self::Sse { scanner, .. } if scanner.is_terminated())
    }
}
