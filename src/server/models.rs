//! `GET /v1/models` and `/v1/models/{id}`, in OpenAI's shape.

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::Value;

use super::admission::Guarded;
use crate::{
    pipeline::{self, Route},
    state::AppState,
};

/// `GET /v1/models`.
pub async fn list(State(state): State<Arc<AppState>>, request: Request<Body>) -> Response {
    let caller = Guarded::caller(request.extensions());
    json(&pipeline::list_models(&state, caller.map(AsRef::as_ref)))
}

/// `GET /v1/models/{id}`; the id may contain `/` anywhere, also first, raw or as `%2F`.
pub async fn one(State(state): State<Arc<AppState>>, request: Request<Body>) -> Response {
    let id = match Route::of(request.uri().path()) {
        Ok(Route::Models(Some(id))) => id,
        _ => Cow::default(), // the middleware lets no other path come here
    };
    let caller = Guarded::caller(request.extensions());
    match pipeline::get_model(&state, caller.map(AsRef::as_ref), &id) {
        Ok(entry) => json(&entry),
        Err(error) => error.into_response(),
    }
}

fn json(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}
