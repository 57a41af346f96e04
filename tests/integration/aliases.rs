//! Aliases, which have a model per mode, and models with another name at their endpoints.

use super::support::{EASY, Gateway, HARD, Server, chat, config};

#[tokio::test]
async fn an_alias_sends_each_mode_to_its_model() {
    let (thinking, instruct) = (Server::friendly().await, Server::friendly().await);
    let yaml = format!(
        "
models:
  thinker: {{ endpoints: [{{ url: '{}', model: Qwen/Qwen3-30B-A3B-Thinking-2507 }}] }}
  talker: {{ endpoints: [{{ url: '{}', model: Qwen/Qwen3-30B-A3B-Instruct-2507 }}] }}
aliases:
  auto: {{ reasoning: thinker, direct: talker, unchanged: talker }}
",
        thinking.url(),
        instruct.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let ask = |prompt: &str| chat(prompt).replace("Qwen3-tiny", "auto");
    let answer = gateway.chat(&ask(HARD)).await;
    assert_eq!(answer.decision(), ("reasoning", "classifier"));
    assert_eq!(
        answer.header("x-thinkgate-model"),
        Some("Qwen/Qwen3-30B-A3B-Thinking-2507")
    );
    assert_eq!(
        thinking.only().text(),
        ask(HARD).replace("\"auto\"", "\"Qwen/Qwen3-30B-A3B-Thinking-2507\"")
    );
    let answer = gateway.chat(&ask(EASY)).await;
    assert_eq!(answer.decision(), ("direct", "classifier"));
    assert_eq!(
        instruct.only().text(),
        ask(EASY).replace("\"auto\"", "\"Qwen/Qwen3-30B-A3B-Instruct-2507\"")
    );
    let short = ask(HARD).replace("\"model\"", "\"max_tokens\":60,\"model\"");
    assert_eq!(
        gateway.chat(&short).await.decision(),
        ("direct", "budget"),
        "too few tokens for a thought and an answer"
    );
    let chosen = ask(HARD).replace("\"model\"", "\"reasoning_effort\":\"low\",\"model\"");
    assert_eq!(
        gateway.chat(&chosen).await.decision(),
        ("unchanged", "client")
    );
    assert_eq!(instruct.arrived().len(), 3);
    let listed = gateway.get("/v1/models").await.json();
    let names: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["talker", "thinker", "auto"]);
    assert_eq!(
        gateway.get("/v1/models/auto").await.json()["object"],
        "model"
    );
}

#[tokio::test]
async fn an_alias_of_hybrid_models_sets_their_switch_too() {
    let server = Server::friendly().await;
    let yaml = format!(
        "
models:
  big: {{ endpoints: [{{ url: '{0}', model: Qwen3-32B }}] }}
  small: {{ endpoints: [{{ url: '{0}', model: Qwen3-4B }}] }}
aliases:
  auto: {{ reasoning: big, direct: small, unchanged: small }}
",
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    gateway
        .chat(&chat(EASY).replace("Qwen3-tiny", "auto"))
        .await;
    assert!(server.only().text().contains(r#""model":"Qwen3-4B""#));
    assert!(server.only().text().contains(r#""enable_thinking":false"#));
}

#[tokio::test]
async fn an_endpoints_own_name_is_sent_on_every_route() {
    let server = Server::friendly().await;
    let yaml = format!(
        "models: {{ nice: {{ endpoints: [{{ url: '{}', model: Qwen3-tiny }}] }} }}",
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    gateway
        .chat(&chat(EASY).replace("Qwen3-tiny", "nice"))
        .await;
    gateway
        .post("/v1/completions", r#"{"model": "nice", "prompt": "x"}"#)
        .await;
    let upload = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nnice\r\n--x--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=x")];
    super::support::send(
        gateway.address,
        "POST",
        "/v1/audio/transcriptions",
        &headers,
        upload,
    )
    .await;
    let arrived = server.arrived();
    assert!(arrived[0].text().starts_with(r#"{"model":"Qwen3-tiny","#));
    assert_eq!(
        arrived[1].text(),
        r#"{"model": "Qwen3-tiny", "prompt": "x"}"#
    );
    assert_eq!(arrived[2].text(), upload.replace("nice", "Qwen3-tiny"));
}
