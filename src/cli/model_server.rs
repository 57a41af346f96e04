//! The model server of `thinkgate demo`: it answers in vLLM's format and obeys `chat_template_kwargs.enable_thinking` as Qwen3 on
//! vLLM does. It has no model. Its answers only say how the switch was set.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header;
use serde::Deserialize;
use serde_json::{Value, json};

/// The name of its only model.
pub const MODEL: &str = "Qwen3-demo";

const THOUGHTS: &str =
    "The switch is on, so I think first: what is asked, what is known, what follows from what.";
const AFTER_THOUGHT: &str = "I was told to think (enable_thinking: true), and did.";
const AT_ONCE: &str = "I was told not to think (enable_thinking: false), and answered at once.";

#[derive(Deserialize)]
struct DemoRequest {
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    chat_template_kwargs: Value,
}

/// The server's routes.
pub fn routes() -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .layer(DefaultBodyLimit::disable()) // the gateway in front has one
}

async fn models() -> Json<Value> {
    let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "thinkgate-demo", "root": MODEL, "parent": null});
    Json(json!({"object": "list", "data": [model]}))
}

async fn chat(Json(request): Json<DemoRequest>) -> Response {
    let thinks = request.chat_template_kwargs["enable_thinking"] != json!(false); // on by default, as Qwen3 is
    let (reasoning, content) = if thinks {
        (Some(THOUGHTS), AFTER_THOUGHT)
    } else {
        (None, AT_ONCE)
    };
    let usage = usage(reasoning, content);
    if request.stream {
        return streamed(reasoning, content, usage);
    }
    let message = json!({"role": "assistant", "content": content, "reasoning": reasoning});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    Json(json!({
        "id": "chatcmpl-demo", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage,
    }))
    .into_response()
}

/// The usage object, with words counted as tokens.
fn usage(reasoning: Option<&str>, content: &str) -> Value {
    let words = |text: &str| text.split_whitespace().count();
    let (thought, answered) = (reasoning.map_or(0, words), words(content));
    json!({"prompt_tokens": 20, "completion_tokens": thought + answered, "total_tokens": 20 + thought + answered,
           "completion_tokens_details": {"reasoning_tokens": thought}})
}

/// A stream with one event per word, as fast as a small model writes.
fn streamed(reasoning: Option<&'static str>, content: &'static str, usage: Value) -> Response {
    let delta = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
        let chunk = json!({"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let words = |text: &'static str| text.split_inclusive(' ');
    let mut events = vec![delta(json!({"role": "assistant", "content": ""}), None)];
    events.extend(
        reasoning
            .into_iter()
            .flat_map(words)
            .map(|word| delta(json!({"reasoning": word}), None)),
    );
    events.extend(words(content).map(|word| delta(json!({"content": word}), None)));
    events.push(delta(json!({"content": ""}), Some("stop")));
    let end = json!({"id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [], "usage": usage});
    events.push(format!("data: {end}\n\n"));
    events.push("data: [DONE]\n\n".to_owned());
    let paced = stream::iter(events).then(|event| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok::<_, Infallible>(Bytes::from(event))
    });
    (
        [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")],
        Body::from_stream(paced),
    )
        .into_response()
}
