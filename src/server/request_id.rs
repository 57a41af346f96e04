//! Gives every request of this door an id, and its answer the same.

use std::sync::Arc;

use axum::extract::Request;
use http::HeaderValue;

use crate::pipeline::{REQUEST_ID, request_id};

/// The id of the request at hand.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Stamps a request; its answer is to be stamped with the same.
pub fn stamp(request: &mut Request) -> HeaderValue {
    let value = request_id(request.headers());
    let id: Arc<str> = value.to_str().unwrap_or_default().into(); // plain ASCII, by the check or by construction
    request.headers_mut().insert(REQUEST_ID, value.clone());
    request.extensions_mut().insert(RequestId(id));
    value
}
