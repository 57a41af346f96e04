//! `x-request-id`: the client's own or a new one, on every answer and on the request to the model server.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header's name.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client, in bytes: it goes into logs and into other servers' headers.
const MAX_BYTES: usize = 128;

/// The id of one request, as a header value and as text.
#[derive(Debug, Clone)]
pub struct RequestId {
    /// The value of the header.
    pub header: HeaderValue,
    /// The same as text, for the log and the trace.
    pub text: Arc<str>,
}

impl RequestId {
    /// Takes the id that the request brought, if it is 1 to 128 visible ASCII characters; makes a random one otherwise.
    pub fn of(headers: &HeaderMap) -> Self {
        let header = headers
            .get(REQUEST_ID)
            .filter(|value| is_acceptable(value))
            .cloned()
            .unwrap_or_else(random);
        let text = header.to_str().unwrap_or("-").into(); // visible ASCII, by the check or by construction
        Self { header, text }
    }
}

fn is_acceptable(value: &HeaderValue) -> bool {
    (1..=MAX_BYTES).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn random() -> HeaderValue {
    HeaderValue::try_from(format!("{:032x}", rand::random::<u128>()))
        .unwrap_or(HeaderValue::from_static("-"))
}
