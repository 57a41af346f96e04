//! Paths in another spelling: a path that a model server would read as one of our routes is never forwarded unjudged.

use super::support::{
    EASY, Gateway, HARD, Server, chat, config,
    envoy::{Buffered, ClientRequest, through},
    send,
};

/// Paths that a server reads as another path. vLLM's server decodes `%`; the HTTP client turns `\` into `/`.
const DISGUISED: [&str; 12] = [
    "/v1/load%5Flora_adapter",
    "/v1/%6Coad_lora_adapter",
    "/v1/unload_lora_adapte%72",
    "/v1%2Fload_lora_adapter",
    "/v1/chat%2Fcompletions",
    "/v1/chat/completion%73",
    "/v1/chat/completions%2F",
    "/v1/chat\\completions",
    "/v1/%6Dodels",
    "/v1/model%73/Qwen3-tiny",
    "/v1/models%2FQwen3-tiny",
    "/v1/models\\Qwen3-tiny",
];

#[tokio::test]
async fn a_route_spelt_with_percent_signs_reaches_no_server() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    for path in DISGUISED {
        for method in ["POST", "GET"] {
            let answer = send(gateway.address, method, path, &[], &chat(EASY)).await;
            let kind = "invalid_request_error".to_owned();
            assert_eq!(
                answer.error(),
                (404, kind, String::new()),
                "{method} {path}"
            );
        }
    }
    let arrived = server.arrived();
    assert!(arrived.is_empty(), "{arrived:#?}");
    // The error names the plain route. A denied route gets the same error in every spelling.
    let chat = gateway.post("/v1/chat%2Fcompletions", &chat(HARD)).await;
    assert!(
        chat.text().contains("/v1/chat/completions"),
        "{}",
        chat.text()
    );
    let plain = gateway.post("/v1/load_lora_adapter", "{}").await;
    let spelt = gateway.post("/v1/load%5Flora_adapter", "{}").await;
    assert_eq!(plain.text().replace("_lora", "%5Flora"), spelt.text());
}

#[tokio::test]
async fn other_paths_are_forwarded_as_they_are_spelt() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = r#"{"model":"Qwen3-tiny"}"#;
    for path in [
        "/v1/files/a%2Fb%20c",
        "/v1/%63ompletions",
        "/v1/chat%2Fcompletions%2Fx",
    ] {
        assert_eq!(gateway.post(path, body).await.status, 200, "{path}");
        let line = server.arrived().pop().unwrap().line;
        assert_eq!(line, format!("POST {path} HTTP/1.1"));
    }
    for path in ["/v1/models/Qwen3%2Dtiny", "/v1/models/%51wen3-tiny"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    // The label is the decoded route.
    let metrics = gateway.get("/metrics").await;
    assert!(metrics.text().contains("route=\"/v1/completions\""));
}

#[tokio::test]
async fn a_key_for_one_model_is_shown_no_others_under_another_spelling_at_either_door() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-bob").unwrap();
    let server = Server::friendly().await;
    let yaml = format!(
        "ext_proc: {{ listen: '127.0.0.1:0' }}\n\
         auth: {{ keys: [{{ name: bob, key: 'file:{}', models: [Qwen3-tiny] }}] }}\n\
         models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }}, hidden: {{ endpoints: [{{ url: '{}' }}] }} }}",
        key.path().display(),
        server.url(),
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let bob = ("authorization", "Bearer sk-bob");
    let body = r#"{"model":"Qwen3-tiny"}"#;
    for path in ["/v1/%6Dodels", "/v1/models%2Fhidden"] {
        let answer = send(gateway.address, "GET", path, &[bob], body).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        let ask = ClientRequest {
            method: "GET",
            path,
            headers: vec![bob],
            pieces: vec![body.as_bytes()],
            trailers: false,
        };
        let answered = through(gateway.envoy.unwrap(), Buffered, &ask)
            .await
            .refused();
        assert!(!answered.body.contains("\"id\":\"hidden\""), "{path}");
    }
    assert!(server.arrived().is_empty());
}
