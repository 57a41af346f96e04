//! `/v1/models`, in OpenAI's shape.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{error::Error, live::Live};

/// `GET /v1/models`.
pub async fn list(State(live): State<Arc<Live>>) -> Response {
    json(&live.catalog.load().list())
}

/// `GET /v1/models/{id}`; the id may contain `/`, raw or as `%2F`.
pub async fn one(State(live): State<Arc<Live>>, request: Request<Body>) -> Response {
    let raw = request.uri().path().trim_start_matches("/v1/models/");
    let id = percent_decode_str(raw).decode_utf8_lossy();
    let catalog = live.catalog.load();
    match catalog.entry(&id) {
        Some(entry) => json(&entry),
        None => match catalog.resolve(Some(&id)) {
            Err(error) => error.into_response(),
            Ok(_) => Error::Internal.into_response(), // what resolves has an entry
        },
    }
}

fn json(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}
