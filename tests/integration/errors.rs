//! Error responses: status, type and code, always in OpenAI's error body, also while the client is still sending.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::{
    EASY, Gateway, Server, Step, chat,
    http::{exchange, parse},
    send,
    server::{OK_BODY, json},
};

#[tokio::test]
async fn twenty_kinds_of_broken_input_are_400_and_reach_no_server() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let user = r#"[{"role":"user","content":"q"}]"#;
    let bodies = [
        String::new(),
        " ".into(),
        "null".into(),
        "[]".into(),
        "\"text\"".into(),
        "{".into(),
        "{'model':1}".into(),
        chat(EASY).replace('}', ""),
        format!("{} trailing", chat(EASY)),
        chat(EASY).replace("\"model\"", "\"x\":nan,\"model\""),
        "{}".into(),
        r#"{"messages":null}"#.into(),
        r#"{"messages":[]}"#.into(),
        r#"{"messages":{}}"#.into(),
        r#"{"messages":"hello"}"#.into(),
        r#"{"messages":[1]}"#.into(),
        r#"{"messages":[{"content":"no role"}]}"#.into(),
        r#"{"messages":[{"role":"user","content":5}]}"#.into(),
        r#"{"messages":[{"role":"user","content":[[]]}]}"#.into(),
        format!(r#"{{"model":7,"messages":{user}}}"#),
        format!(r#"{{"model":"a","model":"b","messages":{user}}}"#),
        format!(r#"{{"model":"a","m\u006fdel":"b","messages":{user}}}"#),
        format!(r#"{{"messages":{user},"messages":{user}}}"#),
        format!(r#"{{"messages":{user},"chat_template_kwargs":"x"}}"#),
    ];
    for body in bodies {
        let answer = gateway.chat(&body).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request_error".into(), String::new()),
            "{body}"
        );
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("x-request-id").is_some());
    }
    let not_utf8 = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: 2\r\n\r\n\xff\xfe";
    assert_eq!(exchange(gateway.address, not_utf8).await.error().0, 400);
    assert!(server.arrived().is_empty());
}

#[tokio::test]
async fn unknown_models_and_routes_are_404_with_a_hint() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let answer = gateway
        .chat(&chat(EASY).replace("Qwen3-tiny", "nope"))
        .await;
    assert_eq!(
        answer.error(),
        (
            404,
            "invalid_request_error".into(),
            "model_not_found".into()
        )
    );
    assert!(
        answer.text().contains("Qwen3-tiny"),
        "the choices are named"
    );
    let answer = gateway.post("/chat/completions", &chat(EASY)).await;
    assert_eq!(answer.error().0, 404);
    assert!(answer.text().contains("/v1/chat/completions"));
    let slash = gateway.post("/v1/chat/completions/", &chat(EASY)).await;
    assert!(slash.error().0 == 404 && slash.text().contains("slash at the end"));
    for path in [
        "/",
        "/sleep",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v2/x",
        "/metricsx",
    ] {
        assert_eq!(gateway.post(path, "{}").await.error().0, 404, "{path}");
    }
    assert_eq!(gateway.get("/v1/chat/completions").await.error().0, 405);
    // What leaves /v1 is nowhere; what a client of ours would send as another path is invalid.
    for (path, status) in [
        ("/v1/../metrics", 404),
        ("/v1/%2e%2e/x", 404),
        ("/v1/./models", 404),
        ("/v1/./files", 400),
        ("/v1/files/..%2Fx", 400),
        ("/v1/files\\x", 400),
    ] {
        assert_eq!(gateway.get(path).await.error().0, status, "{path}");
    }
}

#[tokio::test]
async fn keys_guard_everything_but_health_and_never_leave() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-alice\n").unwrap();
    let server = Server::friendly().await;
    let yaml = format!(
        "auth: {{ keys: [{{ name: alice, key: 'file:{}' }}] }}",
        key.path().display()
    );
    let gateway = Gateway::with(&server, &yaml).await;
    for headers in [
        &[][..],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "sk-alice")],
    ] {
        let answer = gateway
            .post_with("/v1/chat/completions", headers, &chat(EASY))
            .await;
        assert_eq!(
            answer.error(),
            (
                401,
                "invalid_request_error".into(),
                "invalid_api_key".into()
            )
        );
    }
    for path in ["/v1/models", "/explain", "/v1/files"] {
        assert_eq!(
            send(gateway.address, "GET", path, &[], "").await.status,
            401,
            "{path}"
        );
    }
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(gateway.get(path).await.status, 200, "{path}");
    }
    let mine = [
        ("authorization", "Bearer sk-alice"),
        ("x-api-key", "sk-alice"),
    ];
    assert_eq!(
        gateway
            .post_with("/v1/chat/completions", &mine, &chat(EASY))
            .await
            .status,
        200
    );
    let arrived = server.only();
    assert_eq!(
        (arrived.header("authorization"), arrived.header("x-api-key")),
        (None, None)
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_even_while_it_is_being_sent() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "server: { max_body_bytes: 1000 }").await;
    let big = chat(&"x".repeat(5_000_000));
    assert_eq!(
        gateway.chat(&big).await.error(),
        (413, "invalid_request_error".into(), String::new())
    );
    // Without a content-length the limit is reached while the body is read.
    let mut chunked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..100 {
        chunked.extend_from_slice(format!("2710\r\n{}\r\n", "x".repeat(10_000)).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(exchange(gateway.address, &chunked).await.error().0, 413);
    // A body of exactly the limit is served.
    let fits = chat(&"x".repeat(1000 - chat("").len()));
    assert_eq!((fits.len(), gateway.chat(&fits).await.status), (1000, 200));
}

#[tokio::test]
async fn an_early_response_reaches_a_client_that_never_stops_sending() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "server: { max_body_bytes: 1000 }").await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 100000000\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(parse(&all).error().0, 413);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the rest is read for two seconds, not for ever"
    );
}

#[tokio::test]
async fn a_slow_body_is_a_408_that_names_the_limit_and_the_connection_closes() {
    let server = Server::friendly().await;
    for (settings, limit) in [
        ("body_idle_ms: 200", "server.body_idle_ms = 200 ms"),
        ("body_ms: 200", "server.body_ms = 200 ms"),
    ] {
        let gateway = Gateway::with(&server, &format!("server: {{ {settings} }}")).await;
        for path in ["/v1/chat/completions", "/v1/embeddings"] {
            let mut stream = TcpStream::connect(gateway.address).await.unwrap();
            let head = format!("POST {path} HTTP/1.1\r\nhost: g\r\ncontent-length: 100\r\n\r\n{{");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap(); // the gateway closes it, though the client would keep it
            let answer = parse(&all);
            assert_eq!(
                answer.error(),
                (408, "invalid_request_error".into(), String::new())
            );
            assert!(answer.text().contains(limit), "{}", answer.text());
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(answer.complete);
        }
        let metrics = gateway.get("/metrics").await;
        assert!(metrics.text().contains("reason=\"body_timeout\""));
    }
    assert!(server.arrived().is_empty());
}

#[tokio::test]
async fn too_many_requests_in_flight_are_429_and_running_ones_continue() {
    let server = Server::start(|_| {
        [
            vec![Step::Wait(Duration::from_millis(800))],
            json("200 OK", OK_BODY),
        ]
        .concat()
    })
    .await;
    let gateway = Gateway::with(&server, "server: { max_in_flight: 1 }").await;
    let body = chat(EASY);
    let (first, second) = tokio::join!(gateway.chat(&body), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        gateway.chat(&body).await
    });
    assert_eq!(first.status, 200);
    assert_eq!(
        second.error(),
        (429, "rate_limit_error".into(), "overloaded".into())
    );
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(
        gateway.chat(&body).await.status,
        200,
        "the permit is free again"
    );
}

#[tokio::test]
async fn an_error_of_the_model_server_is_relayed_unchanged() {
    let body = r#"{"error":{"message":"The model `nope` does not exist.","type":"NotFoundError","param":"model","code":404}}"#;
    let server = Server::start(move |_| json("404 Not Found", body)).await;
    let gateway = Gateway::before(&server).await;
    let answer = gateway.chat(&chat(EASY)).await;
    assert_eq!((answer.status, answer.text()), (404, body));
    assert_eq!(answer.decision(), ("direct", "classifier"));
}

#[tokio::test]
async fn with_ops_listen_clients_see_neither_metrics_nor_explain() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "ops: { listen: '127.0.0.1:0' }").await;
    let ops = gateway.ops.unwrap();
    let body = chat(EASY);
    let ask = async |address, method, path| send(address, method, path, &[], &body).await.status;
    for (method, path) in [("GET", "/metrics"), ("POST", "/explain")] {
        assert_eq!(ask(gateway.address, method, path).await, 404, "{path}");
        assert_eq!(ask(ops, method, path).await, 200, "{path}");
    }
    for path in ["/health", "/ready"] {
        assert_eq!(ask(gateway.address, "GET", path).await, 200, "{path}");
        assert_eq!(ask(ops, "GET", path).await, 200, "{path}");
    }
    assert_eq!(ask(ops, "POST", "/v1/chat/completions").await, 404);
    assert!(server.arrived().is_empty());
}
