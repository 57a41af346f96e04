//! `x-request-id`: the client's own, or a new one; on every answer and towards the model server.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id a request came with, when it may be one, or a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|value| is_plain(value))
        .cloned()
        .unwrap_or_else(fresh)
}

/// Short, visible ASCII: it goes into logs and other servers' headers.
fn is_plain(value: &HeaderValue) -> bool {
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    HeaderValue::try_from(format!("{:032x}", rand::random::<u128>()))
        .unwrap_or(HeaderValue::from_static("-"))
}
