//! `POST /explain`: what would happen to a chat request; nothing is sent to a model server.

use std::{borrow::Cow, sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::{Value, json, value::RawValue};

use super::{
    admission::{admit, complete, fail},
    chat,
};
use crate::{
    routing::{Routed, ScannedTurn},
    state::AppState,
    upstream::{Endpoint, Model},
};

/// A longer body is not shown: `body` is null then. In bytes.
const MAX_SHOWN_BYTES: usize = 256 << 10;

/// Decides, renders the body, and answers with both.
pub async fn handle(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (mut admitted, body) = match admit(&state, &parts, body, "/explain").await {
        Ok(admitted) => admitted,
        Err(rejection) => return rejection,
    };
    match chat::decide(&state, &mut admitted, &parts, body).await {
        Ok((model, routed)) => complete(admitted.record, explain(&model, routed)),
        Err((error, rest)) => fail(admitted.record, &error, rest),
    }
}

fn explain(model: &Model, mut routed: Routed) -> Response {
    // A forwarded request draws among endpoints; this shows the first.
    let endpoint = model.endpoints.first();
    let family =
        endpoint.and_then(|endpoint| endpoint.family.filter(|_| !endpoint.rejects_switch()));
    let name = endpoint.and_then(|endpoint| endpoint.model.as_deref());
    let rendered = routed.render(family, name).body;
    routed.reconcile(
        family,
        endpoint.is_some_and(|endpoint| endpoint.rejects_switch()),
    );
    let decision = &routed.decision;
    let body_bytes = rendered.len();
    let body = (body_bytes <= MAX_SHOWN_BYTES).then(|| rendered.into_bytes());
    let turns: Vec<Value> = routed.turns.iter().map(describe_turn).collect();
    let answer = json!({
        "mode": decision.mode,
        "why": decision.why,
        "score": decision.score,
        "domain": routed.domain(),
        "fallback": decision.fallback_reason,
        "model": &*routed.model,
        "family": family.map(|family| family.id),
        "endpoint": endpoint.map(|endpoint| json!({
            "url": endpoint.url, "model": endpoint.model.as_deref().unwrap_or(&routed.model),
        })),
        "endpoints": model.endpoints.iter().map(|endpoint| describe_endpoint(endpoint)).collect::<Vec<_>>(),
        "turns": turns,
        "body_bytes": body_bytes,
    });
    // The body is shown as the very bytes that would be sent; through a `Value` its numbers and spaces would change.
    let mut text = answer.to_string();
    text.truncate(text.len() - 1);
    text.push_str(",\"body\":");
    text.push_str(&body.as_deref().map_or(Cow::Borrowed("null"), shown));
    text.push('}');
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A body as JSON: itself, or as a string where it is not what every reader takes for JSON (`NaN`).
fn shown(body: &[u8]) -> Cow<'_, str> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let text = text.trim_start_matches('\u{feff}');
    match serde_json::from_str::<&RawValue>(text) {
        Ok(_) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(Value::from(text).to_string()),
    }
}

/// What matters of an endpoint for choosing it and its switch.
fn describe_endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "url": endpoint.url,
        "model": endpoint.model,
        "family": endpoint.family.map(|family| family.id),
        "probed": endpoint.probed,
        "refuses": endpoint.rejects_switch(),
        "fit": endpoint.is_ready(Instant::now()),
    })
}

/// A turn without its text: its place, its verdict, and what the classifier saw.
fn describe_turn(turn: &ScannedTurn) -> Value {
    let seen = turn.classification.as_ref();
    json!({
        "message": turn.message_index,
        "verdict": turn.verdict,
        "score": seen.map(|seen| seen.score),
        "domain": seen.and_then(|seen| seen.domain.as_ref()),
        "tokens": seen.map(|seen| seen.tokens),
        "truncated": seen.map(|seen| seen.truncated),
        "unreadable": seen.map(|seen| seen.unreadable),
    })
}
