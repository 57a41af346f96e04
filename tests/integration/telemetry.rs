//! The logs, metrics and traces that the binary writes.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::support::{
    EASY, Gateway, HARD, Process, Server, Step, chat,
    http::{PATIENCE, find},
    send,
};

#[tokio::test]
async fn metrics_count_requests_decisions_stages_attempts_and_tokens() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    for prompt in [HARD, EASY, EASY] {
        gateway.chat(&chat(prompt)).await;
    }
    gateway.chat("{}").await;
    let text = gateway.get("/metrics").await;
    assert!(
        text.header("content-type")
            .unwrap()
            .starts_with("text/plain")
    );
    let has = |line: &str| {
        assert!(
            text.text().lines().any(|got| got.starts_with(line)),
            "{line}\n{}",
            text.text()
        )
    };
    has(
        r#"thinkgate_requests_total{mode="direct",model="Qwen3-tiny",reason="complete",route="/v1/chat/completions",status="200",why="classifier"} 2"#,
    );
    has(
        r#"thinkgate_requests_total{mode="",model="",reason="invalid_request",route="/v1/chat/completions",status="400",why=""} 1"#,
    );
    has(r#"thinkgate_decision_duration_seconds_count{why="classifier"} 3"#);
    has(r#"thinkgate_upstream_duration_seconds_count{model="Qwen3-tiny",stage="headers"} 3"#);
    has(&format!(
        r#"thinkgate_upstream_attempts_total{{endpoint="{}",model="Qwen3-tiny",outcome="answered"}} 3"#,
        server.url()
    ));
    has(r#"thinkgate_tokens_total{kind="reasoning",mode="reasoning",model="Qwen3-tiny"} 2"#);
    has(r#"thinkgate_tokens_total{kind="completion",mode="direct",model="Qwen3-tiny"} 10"#);
    has(r#"thinkgate_classifier_scores_total{from="model"} 2"#);
    has(r#"thinkgate_classifier_scores_total{from="cache"} 1"#);
    has("thinkgate_in_flight 0");
    gateway.get("/nowhere").await;
    let text = gateway.get("/metrics").await;
    assert!(
        text.text()
            .contains(r#"reason="route_not_found",route="-",status="404""#),
        "{}",
        text.text()
    );
}

/// Sends one request through the binary and returns what it logged.
async fn logged(server: &Server, extra: &[(&str, &str)], headers: &[(&str, &str)]) -> Vec<String> {
    let process = Process::start(&["--upstream", &server.url()], extra).await;
    let answer = send(
        process.address,
        "POST",
        "/v1/chat/completions",
        headers,
        &chat("my secret prompt"),
    )
    .await;
    assert_eq!(answer.status, 200);
    let (status, lines) = process.stop().await;
    assert_eq!(status, Some(0), "status 0 after a drain");
    lines
}

#[tokio::test]
async fn a_request_is_one_log_line_without_its_prompt_or_keys() {
    let server = Server::friendly().await;
    let lines = logged(
        &server,
        &[],
        &[
            ("authorization", "Bearer sk-very-secret"),
            ("x-request-id", "r-1"),
        ],
    )
    .await;
    let requests: Vec<&String> = lines
        .iter()
        .filter(|line| line.contains("\"thinkgate::access\""))
        .collect();
    assert_eq!(requests.len(), 1, "{requests:#?}");
    let entry: serde_json::Value = serde_json::from_str(requests[0]).unwrap();
    for (key, value) in [
        ("request_id", "r-1"),
        ("route", "/v1/chat/completions"),
        ("model", "Qwen3-tiny"),
        ("outcome", "complete"),
        ("why", "classifier"),
    ] {
        assert_eq!(entry[key], value, "{entry}");
    }
    assert_eq!(
        (
            entry["status"].as_u64(),
            entry["completion_tokens"].as_u64()
        ),
        (Some(200), Some(5))
    );
    for line in &lines {
        assert!(
            !line.contains("sk-very-secret") && !line.contains("secret prompt"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_request_is_one_span_in_the_clients_trace() {
    let server = Server::friendly().await;
    let collector = Server::friendly().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    logged(
        &server,
        &[("THINKGATE_TELEMETRY__OTLP", &collector.url())],
        &[("traceparent", &parent)],
    )
    .await;
    let onward = server.only().header("traceparent").unwrap().to_owned();
    assert!(
        onward.starts_with(&format!("00-{trace}-")) && onward != parent,
        "{onward}"
    );
    let body = exported(&collector, "/v1/traces");
    for text in [
        "thinkgate.mode",
        "direct",
        "/v1/chat/completions",
        "Qwen3-tiny",
    ] {
        assert!(find(&body, text.as_bytes()).is_some(), "{text}");
    }
    // A number is a number: field 3 of OTLP's `AnyValue`, here 200 and 5 as a varint.
    for (name, value) in [
        ("http.response.status_code", &b"\x12\x03\x18\xc8\x01"[..]),
        ("gen_ai.usage.output_tokens", b"\x12\x02\x18\x05"),
    ] {
        let attribute = [name.as_bytes(), value].concat();
        assert!(find(&body, &attribute).is_some(), "{name}");
    }
}

/// What the collector got at `path`.
fn exported(collector: &Server, path: &str) -> Vec<u8> {
    let line = format!("POST {path} ");
    let exports = collector.arrived().into_iter();
    exports
        .filter(|export| export.line.starts_with(&line))
        .flat_map(|export| export.body)
        .collect()
}

/// Asserts that one chat request is among the metrics that the collector got.
fn assert_counted(metrics: &[u8]) {
    for text in [
        "thinkgate.requests",
        "thinkgate.request.duration",
        "thinkgate.tokens",
        "/v1/chat/completions",
        "Qwen3-tiny",
        "service.name",
    ] {
        assert!(find(metrics, text.as_bytes()).is_some(), "{text}");
    }
}

#[tokio::test]
async fn metrics_are_pushed_to_the_collector_periodically() {
    let (server, collector) = (Server::friendly().await, Server::friendly().await);
    let settings = [
        ("THINKGATE_TELEMETRY__OTLP", &*collector.url()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    let process = Process::start(&["--upstream", &server.url()], &settings).await;
    assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    let began = Instant::now();
    while find(&exported(&collector, "/v1/metrics"), b"thinkgate.tokens").is_none() {
        assert!(began.elapsed() < PATIENCE, "never pushed");
        sleep(Duration::from_millis(20)).await;
    }
    assert_counted(&exported(&collector, "/v1/metrics"));
    let requests = process.metric("thinkgate_requests_total{").await;
    assert_eq!(requests, Some(1.0), "/metrics has them too");
}

#[tokio::test]
async fn the_last_metrics_are_pushed_at_the_stop() {
    let (server, collector) = (Server::friendly().await, Server::friendly().await);
    let settings = [("THINKGATE_TELEMETRY__OTLP", &*collector.url())];
    logged(&server, &settings, &[]).await;
    assert_counted(&exported(&collector, "/v1/metrics"));
}

#[tokio::test]
async fn a_collector_that_hangs_does_not_delay_the_exit() {
    let server = Server::friendly().await;
    let collector = Server::start(|_| vec![Step::Hang]).await;
    let to = [("THINKGATE_TELEMETRY__OTLP", &*collector.url())];
    let process = Process::start(&["--upstream", &server.url()], &to).await;
    assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    let began = Instant::now();
    assert_eq!(process.stop().await.0, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}
