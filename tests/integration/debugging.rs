//! What an operator reads when something fails: which request it was, and why.

use std::fs;

use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use tokio::net::TcpListener;

use super::support::{
    EASY, Process, Server, chat,
    envoy::{Buffered, ClientRequest, through},
    send,
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Waits for the access line of the request with this id.
async fn access_line(process: &Process, id: &str) -> serde_json::Value {
    process
        .said(|line| {
            let is_it = line["request_id"] == id && line["target"] == "thinkgate::access";
            is_it.then(|| line.clone())
        })
        .await
}

#[tokio::test]
async fn a_refused_request_is_logged_with_its_method_path_and_model_at_both_doors() {
    let server = Server::friendly().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let yaml = format!(
        "
ext_proc: {{ listen: '127.0.0.1:0' }}
auth: {{ keys: [{{ name: alice, key: env:ALICE_KEY, models: [Qwen3-tiny] }}] }}
models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}
",
        server.url()
    );
    fs::write(&file, yaml).unwrap();
    let file = file.display().to_string();
    let process = Process::start(&["--config", &file], &[("ALICE_KEY", "sk-alice")]).await;
    let envoy = process
        .said(|line| {
            let is_envoys = line["message"].as_str()?.contains("for Envoy");
            is_envoys.then(|| line["listen"].as_str().unwrap().parse().unwrap())
        })
        .await;
    let alice = ("authorization", "Bearer sk-alice");
    let other = chat(EASY).replace("Qwen3-tiny", "other\\u001b[2J");
    let cases = [
        (
            "POST",
            "/v1/chat/completions?key=sk-query",
            None,
            chat(EASY),
            401,
            None,
        ),
        (
            "POST",
            "/v1/chat/completions",
            Some(alice),
            other,
            403,
            Some("other\\u{1b}[2J"),
        ),
        (
            "POST",
            "/v1/embeddings",
            Some(alice),
            "{\"model\":\"x\"}".into(),
            403,
            Some("x"),
        ),
        (
            "POST",
            "/v1/chat/completions",
            Some(alice),
            "{".into(),
            400,
            None,
        ),
    ];
    for (index, (method, path, key, body, status, model)) in cases.iter().enumerate() {
        let ids = [format!("http-{index}"), format!("envoy-{index}")];
        let mut headers = vec![JSON, ("x-request-id", &*ids[0])];
        headers.extend(*key);
        let answer = send(process.address, method, path, &headers, body).await;
        assert_eq!(answer.status, *status, "{path}: {}", answer.text());
        headers[1].1 = &*ids[1];
        let ask = ClientRequest {
            method,
            path,
            headers,
            pieces: vec![body.as_bytes()],
            trailers: false,
        };
        let mode: BodySendMode = Buffered;
        let refused = through(envoy, mode, &ask).await.refused();
        assert_eq!(refused.status, u32::from(*status), "{path}");
        for id in &ids {
            let line = access_line(&process, id).await;
            let path = path.split('?').next().unwrap();
            assert_eq!(
                (&line["method"], &line["path"]),
                (&(*method).into(), &path.into())
            );
            assert_eq!(line["asked_model"].as_str(), *model, "{line}");
        }
    }
    let log = process.lines().concat();
    assert!(!log.contains("sk-query") && !log.contains("sk-alice") && !log.contains(EASY));
}

#[tokio::test]
async fn a_failed_attempt_is_logged_with_its_request_and_its_cause() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (silent_at, closing_at) = (silent.local_addr().unwrap(), closing.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            drop(closing.accept().await);
        }
    });
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refusing_at = free.local_addr().unwrap();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let yaml = format!(
        "
upstream: {{ headers_ms: 200, health_ms: 0, retries: 0 }}
models:
  refusing: {{ endpoints: [{{ url: 'http://{refusing_at}' }}] }}
  nameless: {{ endpoints: [{{ url: 'http://no-such-host.invalid:8000' }}] }}
  plain: {{ endpoints: [{{ url: 'https://{closing_at}' }}] }}
  silent: {{ endpoints: [{{ url: 'http://{silent_at}' }}] }}
  closing: {{ endpoints: [{{ url: 'http://{closing_at}' }}] }}
"
    );
    fs::write(&file, yaml).unwrap();
    let process = Process::start(&["--config", &file.display().to_string()], &[]).await;
    for (model, status, cause) in [
        ("refusing", 502, "connection refused"),
        ("nameless", 502, "name not found"),
        ("silent", 504, "timed out: upstream.headers_ms = 200 ms"),
        ("closing", 502, "by the server before its answer"),
        ("plain", 502, ""),
    ] {
        let id = format!("of-{model}");
        let body = chat(EASY).replace("Qwen3-tiny", model);
        let headers = [JSON, ("x-request-id", &*id)];
        let answer = send(
            process.address,
            "POST",
            "/v1/chat/completions",
            &headers,
            &body,
        )
        .await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
        let line = process
            .said(|line| {
                let is_it = line["request_id"] == *id && line["message"] == "attempt failed";
                is_it.then(|| line.clone())
            })
            .await;
        assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    }
    drop(silent);
}

#[tokio::test]
async fn ready_names_the_models_without_a_healthy_server() {
    let server = Server::friendly().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let yaml = format!(
        "
upstream: {{ health_ms: 50 }}
models:
  here: {{ endpoints: [{{ url: 'http://127.0.0.1:1' }}, {{ url: '{}' }}] }}
  gone: {{ endpoints: [{{ url: 'http://127.0.0.1:1' }}] }}
",
        server.url()
    );
    fs::write(&file, yaml).unwrap();
    let process = Process::start(&["--config", &file.display().to_string()], &[]).await;
    super::support::until("the first check", async || {
        let ready = process.get("/ready").await;
        let gone = serde_json::json!(["gone"]);
        ready.status == 200 && ready.json()["models_without_server"] == gone
    })
    .await;
    let ready = process.get("/ready").await.json();
    assert_eq!(ready["degraded"], serde_json::json!(["models"]), "{ready}");
    let gauge = "thinkgate_endpoint_healthy{server=\"http://127.0.0.1:1\"}";
    assert_eq!(process.metric(gauge).await, Some(0.0), "it never answered");
}
