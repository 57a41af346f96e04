//! For those who operate the gateway: alive, ready, measured.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde_json::json;

use crate::state::AppState;

/// `GET /health`: the process answers.
pub async fn health() -> StatusCode {
    StatusCode::OK
}

/// `GET /ready`: 200, or 503 with what is still pending; and what is degraded in either case, with the models that have no healthy
/// server.
pub async fn ready(State(state): State<Arc<AppState>>) -> Response {
    let pending = state.pending();
    let status = if pending.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": pending.is_empty(),
        "pending": pending,
        "degraded": state.degraded(),
        "models_without_server": state.models_without_server(),
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        state.metrics.render(),
    )
        .into_response()
}
