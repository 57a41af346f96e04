//! `x-request-id`: the client's own, or a new one; on every answer and towards the model server.

use std::sync::Arc;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};

/// The header.
pub const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request at hand.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Gives every request an id, and its answer the same.
pub async fn stamp(mut request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(NAME)
        .filter(|value| is_plain(value))
        .cloned();
    let value = given.unwrap_or_else(fresh);
    let id: Arc<str> = value.to_str().unwrap_or_default().into(); // plain ASCII, by the filter or by construction
    request.headers_mut().insert(NAME, value.clone());
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    response.headers_mut().insert(NAME, value);
    response
}

/// Short, visible ASCII: it goes into logs and other servers' headers.
fn is_plain(value: &HeaderValue) -> bool {
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    HeaderValue::try_from(format!("{:032x}", rand::random::<u128>()))
        .unwrap_or(HeaderValue::from_static("-"))
}
