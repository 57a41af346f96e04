//! Servers that show how they render a prompt, and so which switch their model obeys.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::{
    EASY, Gateway, HARD, Server, chat, config,
    server::{Arrived, OK_BODY, json as answer},
};

/// What a template makes of its variables and the user's words.
type Template = fn(&Value, &str) -> Vec<u32>;

fn tokens(words: &str) -> Vec<u32> {
    words.bytes().map(u32::from).collect()
}

/// Renders like DeepSeek's: `thinking`, off unless said otherwise, at the end of the prompt.
fn thinking(variables: &Value, words: &str) -> Vec<u32> {
    let end = if variables["thinking"] == true {
        "<think>"
    } else {
        "</think>"
    };
    tokens(&format!("<user>{words}<assistant>{end}"))
}

/// Renders like Granite's: `thinking` puts a line in front of everything.
fn head(variables: &Value, words: &str) -> Vec<u32> {
    let line = if variables["thinking"] == true {
        "think!"
    } else {
        ""
    };
    tokens(&format!("{line}<user>{words}<assistant>"))
}

fn deaf(_: &Value, words: &str) -> Vec<u32> {
    tokens(&format!("<user>{words}<assistant>"))
}

fn wordless(_: &Value, _: &str) -> Vec<u32> {
    Vec::new() // llama.cpp's /tokenize, which reads `content`
}

/// A server of `model` that renders by `template`, as vLLM's `/tokenize` does.
async fn rendering(model: &'static str, template: Template) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::whole(listener, move |request: &Arrived| {
        match request.line.split(' ').nth(1) {
            Some("/v1/models") => answer("200 OK", &json!({"data": [{"id": model}]}).to_string()),
            Some("/tokenize") => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(asked["model"], model);
                let words = asked["messages"][0]["content"].as_str().unwrap();
                let tokens = template(&asked["chat_template_kwargs"], words);
                answer(
                    "200 OK",
                    &json!({"count": tokens.len(), "tokens": tokens}).to_string(),
                )
            }
            _ => answer("200 OK", OK_BODY),
        }
    })
}

/// How a hard prompt is answered, and what the server got of it.
async fn asked(server: &Server, model: &str) -> (String, String, Value) {
    let gateway = Gateway::start(config(&[server], "{}")).await;
    let body = chat(HARD).replace("Qwen3-tiny", model);
    let answer = gateway.chat(&body).await;
    let (mode, why) = answer.decision();
    let sent = serde_json::from_slice(&server.only().body).unwrap();
    (mode.to_owned(), why.to_owned(), sent)
}

#[tokio::test]
async fn a_template_that_switches_otherwise_than_its_name_says_gets_its_own_switch() {
    let server = rendering("Qwen3-custom", thinking).await;
    let (mode, why, sent) = asked(&server, "Qwen3-custom").await;
    assert_eq!((mode.as_str(), why.as_str()), ("reasoning", "classifier"));
    assert_eq!(sent["chat_template_kwargs"], json!({"thinking": true}));
}

#[tokio::test]
async fn a_model_that_no_table_knows_is_gated_when_its_template_switches() {
    let server = rendering("our-own-model", head).await;
    let (mode, _, sent) = asked(&server, "our-own-model").await;
    assert_eq!(mode, "reasoning");
    assert_eq!(sent["chat_template_kwargs"], json!({"thinking": true}));
}

#[tokio::test]
async fn a_template_that_obeys_no_switch_is_left_alone() {
    let server = rendering("Qwen3-merged", deaf).await;
    let (mode, why, sent) = asked(&server, "Qwen3-merged").await;
    assert_eq!((mode.as_str(), why.as_str()), ("unchanged", "fixed"));
    assert!(sent.get("chat_template_kwargs").is_none());
    let server = rendering("our-own-model", deaf).await;
    assert_eq!(asked(&server, "our-own-model").await.1, "unknown");
}

#[tokio::test]
async fn a_server_that_cannot_render_a_chat_is_left_to_the_table() {
    let server = rendering("Qwen3-elsewhere", wordless).await;
    let (mode, _, sent) = asked(&server, "Qwen3-elsewhere").await;
    assert_eq!(mode, "reasoning");
    assert_eq!(
        sent["chat_template_kwargs"],
        json!({"enable_thinking": true})
    );
}

#[tokio::test]
async fn a_family_that_the_operator_names_is_believed() {
    let server = rendering("custom", thinking).await;
    let yaml = format!(
        "models: {{custom: {{family: qwen3, endpoints: [{{url: '{}'}}]}}}}",
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    gateway
        .chat(&chat(EASY).replace("Qwen3-tiny", "custom"))
        .await;
    let sent: Value = serde_json::from_slice(&server.only().body).unwrap();
    assert_eq!(
        sent["chat_template_kwargs"],
        json!({"enable_thinking": false})
    );
}

#[tokio::test]
async fn explain_shows_what_every_server_obeys() {
    let server = rendering("Qwen3-custom", head).await;
    let gateway = Gateway::start(config(&[&server], "{}")).await;
    let answer = gateway
        .post(
            "/explain",
            &chat(HARD).replace("Qwen3-tiny", "Qwen3-custom"),
        )
        .await;
    let told = answer.json();
    assert_eq!(
        told["endpoints"][0],
        json!({
            "url": server.url(), "model": null, "family": "thinking", "refuses": false, "fit": true,
            "probed": {"family": "thinking", "default": "direct", "changes": "head"},
        })
    );
    assert_eq!(
        told["body"]["chat_template_kwargs"],
        json!({"thinking": true})
    );
}
