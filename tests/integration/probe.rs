//! Probes: servers that render a prompt by `/tokenize`, which shows the switch their model obeys.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use thinkgate::{
    config::{BaseUrl, Config},
    telemetry::Metrics,
    upstream::{self, Client, ProbeError, list_models, probe},
};
use tokio::{net::TcpListener, time::sleep};

use super::support::{
    EASY, Gateway, HARD, Server, Step, chat, config,
    server::{Arrived, OK_BODY, chunk, json as answer, last_chunk},
    until,
};

/// Renders a prompt from the template variables and the user's words.
type Template = fn(&Value, &str) -> Vec<u32>;

fn tokens(words: &str) -> Vec<u32> {
    words.bytes().map(u32::from).collect()
}

/// Renders like DeepSeek's template: `thinking`, off by default, changes the end of the prompt.
fn thinking(variables: &Value, words: &str) -> Vec<u32> {
    let end = if variables["thinking"] == true {
        "<think>"
    } else {
        "</think>"
    };
    tokens(&format!("<user>{words}<assistant>{end}"))
}

/// Renders like Granite's template: `thinking` adds a line at the head of the prompt.
fn head(variables: &Value, words: &str) -> Vec<u32> {
    let line = if variables["thinking"] == true {
        "think!"
    } else {
        ""
    };
    tokens(&format!("{line}<user>{words}<assistant>"))
}

/// Renders without any switch.
fn without_switch(_: &Value, words: &str) -> Vec<u32> {
    tokens(&format!("<user>{words}<assistant>"))
}

/// Renders no message, like llama.cpp's `/tokenize`, which reads `content`.
fn without_words(_: &Value, _: &str) -> Vec<u32> {
    Vec::new()
}

/// The answer of `/tokenize` with this template.
fn tokenize_answer(request: &Arrived, template: Template) -> Vec<Step> {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let words = asked["messages"][0]["content"].as_str().unwrap();
    let tokens = template(&asked["chat_template_kwargs"], words);
    let told = json!({"count": tokens.len(), "tokens": tokens});
    answer("200 OK", &told.to_string())
}

const BUSY: &str = "503 Service Unavailable";

/// A server that lists the current `models` (503 if there are none), answers `/tokenize` by `tokenize`, and rejects our switch.
async fn changing(
    models: Arc<Mutex<Vec<&'static str>>>,
    tokenize: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::whole(listener, move |request: &Arrived| {
        match request.line.split(' ').nth(1) {
            Some("/v1/models") => {
                let models = models.lock().unwrap();
                if models.is_empty() {
                    return answer(BUSY, "{}");
                }
                let entries: Vec<Value> = models.iter().map(|id| json!({"id": id})).collect();
                answer("200 OK", &json!({"data": entries}).to_string())
            }
            Some("/tokenize") => tokenize(request),
            _ if request.text().contains("chat_template_kwargs") => {
                answer("400 Bad Request", "chat_template_kwargs is not supported")
            }
            _ => answer("200 OK", OK_BODY),
        }
    })
}

/// A gateway that polls model lists often.
async fn polling_gateway(server: &Server) -> Gateway {
    Gateway::start(config(&[server], "upstream: {discover_ms: 20}")).await
}

/// The family that the gateway uses for the model.
async fn family(gateway: &Gateway, model: &str) -> Value {
    let body = chat(HARD).replace("Qwen3-tiny", model);
    gateway.post("/explain", &body).await.json()["family"].clone()
}

/// A server of `model` whose `/tokenize` renders by `template`, as vLLM's does.
async fn rendering(model: &'static str, template: Template) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::whole(listener, move |request: &Arrived| {
        match request.line.split(' ').nth(1) {
            Some("/v1/models") => answer("200 OK", &json!({"data": [{"id": model}]}).to_string()),
            Some("/tokenize") => {
                let asked: Value = serde_json::from_slice(&request.body).unwrap();
                assert_eq!(asked["model"], model);
                tokenize_answer(request, template)
            }
            _ => answer("200 OK", OK_BODY),
        }
    })
}

/// The decision for a hard prompt, and the body that the server got.
async fn decision_and_body(server: &Server, model: &str) -> (String, String, Value) {
    let gateway = Gateway::start(config(&[server], "{}")).await;
    let body = chat(HARD).replace("Qwen3-tiny", model);
    let answer = gateway.chat(&body).await;
    let (mode, why) = answer.decision();
    let sent = serde_json::from_slice(&server.only().body).unwrap();
    (mode.to_owned(), why.to_owned(), sent)
}

#[tokio::test]
async fn a_template_with_another_switch_than_its_name_suggests_gets_its_own() {
    let server = rendering("Qwen3-custom", thinking).await;
    let (mode, why, sent) = decision_and_body(&server, "Qwen3-custom").await;
    assert_eq!((mode.as_str(), why.as_str()), ("reasoning", "classifier"));
    assert_eq!(sent["chat_template_kwargs"], json!({"thinking": true}));
}

#[tokio::test]
async fn an_unknown_model_is_gated_if_its_template_has_a_switch() {
    let server = rendering("our-own-model", head).await;
    let (mode, _, sent) = decision_and_body(&server, "our-own-model").await;
    assert_eq!(mode, "reasoning");
    assert_eq!(sent["chat_template_kwargs"], json!({"thinking": true}));
}

#[tokio::test]
async fn a_template_without_a_switch_is_left_alone() {
    let server = rendering("Qwen3-merged", without_switch).await;
    let (mode, why, sent) = decision_and_body(&server, "Qwen3-merged").await;
    assert_eq!((mode.as_str(), why.as_str()), ("unchanged", "fixed"));
    assert!(sent.get("chat_template_kwargs").is_none());
    let server = rendering("our-own-model", without_switch).await;
    assert_eq!(
        decision_and_body(&server, "our-own-model").await.1,
        "unknown"
    );
}

#[tokio::test]
async fn the_family_table_decides_if_the_server_cannot_render_a_chat() {
    let server = rendering("Qwen3-elsewhere", without_words).await;
    let (mode, _, sent) = decision_and_body(&server, "Qwen3-elsewhere").await;
    assert_eq!(mode, "reasoning");
    assert_eq!(
        sent["chat_template_kwargs"],
        json!({"enable_thinking": true})
    );
}

#[tokio::test]
async fn a_configured_family_overrides_the_probe() {
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
async fn explain_shows_the_probed_switch_of_every_endpoint() {
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

#[tokio::test]
async fn a_probe_of_a_busy_server_is_repeated() {
    let left = AtomicUsize::new(3);
    let is_busy = move || {
        let less = |left: usize| left.checked_sub(1);
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    };
    let models = Arc::new(Mutex::new(vec!["Qwen3-custom"]));
    let server = changing(models, move |request| match is_busy() {
        true => answer(BUSY, "{}"),
        false => tokenize_answer(request, thinking),
    })
    .await;
    let gateway = polling_gateway(&server).await;
    until("the probe succeeds", async || {
        family(&gateway, "Qwen3-custom").await == "thinking"
    })
    .await;
}

#[tokio::test]
async fn a_server_without_the_route_is_probed_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let models = Arc::new(Mutex::new(vec!["Qwen3-custom"]));
    let server = changing(models, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        answer("404 Not Found", "{}")
    })
    .await;
    let gateway = polling_gateway(&server).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(family(&gateway, "Qwen3-custom").await, "qwen3");
}

#[tokio::test]
async fn findings_are_kept_while_the_server_is_too_busy_for_a_probe() {
    let (busy, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (is_busy, count) = (busy.clone(), asked.clone());
    let models = Arc::new(Mutex::new(vec!["Qwen3-custom"]));
    let tokenize = move |request: &Arrived| {
        count.fetch_add(1, Ordering::Relaxed);
        match is_busy.load(Ordering::Relaxed) {
            true => answer(BUSY, "{}"),
            false => tokenize_answer(request, thinking),
        }
    };
    let server = changing(models.clone(), tokenize).await;
    let gateway = polling_gateway(&server).await;
    let asked_again = async || {
        let before = asked.load(Ordering::Relaxed);
        until("three more probes", async || {
            asked.load(Ordering::Relaxed) >= before + 3
        })
        .await;
    };
    assert_eq!(family(&gateway, "Qwen3-custom").await, "thinking");
    busy.store(true, Ordering::Relaxed);
    models.lock().unwrap().push("our-own-adapter");
    asked_again().await;
    assert_eq!(family(&gateway, "Qwen3-custom").await, "thinking");
    models.lock().unwrap().clear(); // the list fails for a while, after which all models are probed again
    sleep(Duration::from_millis(100)).await;
    models.lock().unwrap().push("Qwen3-custom");
    asked_again().await;
    assert_eq!(family(&gateway, "Qwen3-custom").await, "thinking");
}

#[tokio::test]
async fn the_models_of_one_server_are_probed_one_after_another() {
    const PAUSE: Duration = Duration::from_millis(3);
    let names: Vec<&str> = (0..50).map(|n| &*format!("adapter-{n}").leak()).collect();
    let arrivals = Arc::new(Mutex::new(Vec::new()));
    let noted = arrivals.clone();
    let server = changing(Arc::new(Mutex::new(names)), move |request| {
        noted.lock().unwrap().push(Instant::now());
        [vec![Step::Wait(PAUSE)], tokenize_answer(request, thinking)].concat()
    })
    .await;
    let gateway = polling_gateway(&server).await;
    until("all models are probed", async || {
        family(&gateway, "adapter-49").await == "thinking"
    })
    .await;
    let arrivals = arrivals.lock().unwrap();
    assert!(arrivals.len() >= 100);
    for pair in arrivals.windows(2) {
        assert!(pair[1] - pair[0] >= PAUSE, "two at a time");
    }
}

#[tokio::test]
async fn a_rejected_switch_is_remembered_when_other_models_are_listed() {
    let models = Arc::new(Mutex::new(vec!["Qwen3-tiny"]));
    let server = changing(models.clone(), |_| answer("404 Not Found", "{}")).await;
    let gateway = polling_gateway(&server).await;
    gateway.chat(&chat(EASY)).await;
    models.lock().unwrap().push("another");
    until("the other model is listed", async || {
        gateway.get("/v1/models/another").await.status == 200
    })
    .await;
    assert_eq!(
        gateway.chat(&chat(EASY)).await.decision(),
        ("unchanged", "refused")
    );
    assert_eq!(server.arrived().len(), 3, "the switch was sent once");
}

/// The document after so many MiB of blanks, and one more byte.
fn long(document: &str, mebibytes: usize) -> String {
    format!("{}{document}", " ".repeat((mebibytes << 20) + 1))
}

/// An answer with the document in chunks, without a length.
fn in_pieces(document: &str) -> Vec<Step> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    vec![Step::Send(head.into()), chunk(document), last_chunk()]
}

/// A client and the server's address.
fn client_of(server: &Server) -> (Client, upstream::ModelServer) {
    let metrics = Arc::new(Metrics::new(None).unwrap());
    let client = Client::new(&Config::default().upstream, Arc::default(), metrics).unwrap();
    let url = BaseUrl::parse(&server.url()).unwrap();
    (client, upstream::ModelServer { url, api_key: None })
}

#[tokio::test]
async fn a_model_list_over_the_limit_is_not_read_to_its_end() {
    for (mebibytes, is_read) in [(7, true), (8, false)] {
        let list = long(r#"{"data":[]}"#, mebibytes);
        for answered in [answer("200 OK", &list), in_pieces(&list)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let server = Server::whole(listener, move |_| answered.clone());
            let (client, model_server) = client_of(&server);
            match list_models(&client, &model_server).await {
                Ok(_) => assert!(is_read, "{mebibytes} MiB were read"),
                Err(trouble) => {
                    assert!(!is_read && trouble.contains("8388608 bytes"), "{trouble}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_rendered_prompt_over_the_limit_is_not_read_to_its_end() {
    let server = |mebibytes: usize, listener| {
        Server::whole(listener, move |request: &Arrived| {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let words = asked["messages"][0]["content"].as_str().unwrap();
            let tokens = thinking(&asked["chat_template_kwargs"], words);
            let told = json!({"tokens": tokens}).to_string();
            in_pieces(&long(&told, mebibytes))
        })
    };
    for (mebibytes, found) in [(1, None), (16, Some(ProbeError::Unsupported))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = server(mebibytes, listener);
        let (client, model_server) = client_of(&server);
        let probed = probe(&client, &model_server, "our-own-model", None).await;
        assert_eq!(probed.err(), found, "{mebibytes} MiB");
    }
}
