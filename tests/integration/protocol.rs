//! What is no proper request, and what HTTP offers beside requests: every answer is one of ours, with a body, an id and a record.

use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::{
    EASY, Gateway, HARD, Process, Server, chat, config,
    envoy::{Buffered, ClientRequest, EnvoyStream, assert_refused_alike},
    http::{exchange, parse, rest},
    http2, send,
    server::Step,
    until,
};

const KIND: &str = "invalid_request_error";

#[tokio::test]
async fn what_the_http_library_refuses_has_a_body_an_id_and_a_metric() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let long = "a".repeat(70_000);
    let many = "x: y\r\n".repeat(120);
    for (request, status) in [
        ("GET\r\n\r\n".to_owned(), 400),
        ("nonsense here and there\r\n\r\n".to_owned(), 400),
        (
            "GET \\v1/completions HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            400,
        ),
        (
            "GET /v1/models HTTP/1.1\r\nhost: a\r\nb ad: x\r\n\r\n".to_owned(),
            400,
        ),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        (
            format!("GET /v1/models HTTP/1.1\r\nhost: a\r\n{many}\r\n"),
            431,
        ),
        (
            format!(
                "GET /v1/models HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
                "y".repeat(500_000)
            ),
            431,
        ),
    ] {
        let shown = request.get(..60).unwrap_or(&request).to_owned();
        let answer = exchange(gateway.address, request.as_bytes()).await;
        assert_eq!(
            answer.error(),
            (status, KIND.into(), String::new()),
            "{shown}"
        );
        assert!(
            answer.complete && answer.header("content-type") == Some("application/json"),
            "{shown}"
        );
        assert_eq!(
            answer.header("x-request-id").map(str::len),
            Some(32),
            "{shown}"
        );
    }
    let metrics = gateway.get("/metrics").await;
    for reason in ["invalid_request", "path_too_long", "headers_too_large"] {
        let line = format!("\"{reason}\"");
        assert!(metrics.text().contains(&line), "{}", metrics.text());
    }
}

#[tokio::test]
async fn a_bad_request_behind_a_good_one_gets_its_answer_behind_the_others() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(
            b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\nGET bad\x01 HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .await
        .unwrap();
    let all = rest(&mut stream).await;
    let text = String::from_utf8(all).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    let second = text.rfind("HTTP/1.1 400").unwrap();
    assert_eq!(parse(&text.as_bytes()[second..]).error().0, 400);
}

#[tokio::test]
async fn more_than_a_hundred_headers_over_http2_are_too_many() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let (mut sender, _connection) = http2::connect(gateway.address).await;
    for (count, status) in [(95, 200), (101, 431), (9_000, 431)] {
        let headers = vec![("x", "y"); count];
        let request = http2::chat(&headers, &chat(EASY));
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{count}");
        assert!(answer.headers().contains_key("x-request-id"));
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["type"].is_string(), status == 431, "{body}");
    }
}

#[tokio::test]
async fn http1_without_a_host_and_methods_of_proxies_are_refused() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(EASY);
    let length = body.len();
    for (version, status) in [("1.1", 400), ("1.0", 200)] {
        let request = format!(
            "POST /v1/chat/completions HTTP/{version}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let answer = exchange(gateway.address, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{version}");
        assert!(
            status == 200 || answer.text().contains("Host"),
            "{}",
            answer.text()
        );
    }
    let before = server.arrived().len();
    for (method, target) in [
        ("TRACE", "/v1/completions"),
        ("CONNECT", "vllm:8000"),
        ("TRACE", "/v1/models"),
    ] {
        let answer = send(gateway.address, method, target, &[], "").await;
        assert_eq!(answer.error().0, 405, "{method}");
    }
    assert_eq!(server.arrived().len(), before);
}

#[tokio::test]
async fn a_websocket_is_not_here_and_any_other_offer_is_ignored() {
    let server = Server::friendly().await;
    let yaml = format!(
        "ext_proc: {{ listen: '127.0.0.1:0' }}\nmodels: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}",
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let websocket = [("upgrade", "WebSocket"), ("sec-websocket-version", "13")];
    for path in [
        "/v1/realtime?model=Qwen3-tiny",
        "/v1/responses",
        "/v1/chat/completions",
    ] {
        let answer = send(gateway.address, "GET", path, &websocket, "").await;
        assert_eq!(answer.error(), (501, KIND.into(), String::new()), "{path}");
        assert!(answer.text().contains("websocket"), "{}", answer.text());
        let ask = ClientRequest {
            method: "GET",
            path,
            headers: websocket.to_vec(),
            pieces: vec![],
            trailers: false,
        };
        assert_eq!(answer.status, 501, "{path}");
        assert_refused_alike(gateway.envoy.unwrap(), &ask, &answer).await;
    }
    assert!(server.arrived().is_empty());
    let h2c = [("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")];
    let body = chat(HARD);
    let length = body.len();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings, close\r\n{}: {}\r\n{}: {}\r\ncontent-length: {length}\r\n\r\n{body}",
        h2c[0].0, h2c[0].1, h2c[1].0, h2c[1].1
    );
    let answer = exchange(gateway.address, request.as_bytes()).await;
    assert_eq!(answer.decision(), ("reasoning", "classifier"));
    let arrived = server.arrived().pop().unwrap();
    assert_eq!(
        (arrived.header("upgrade"), arrived.header("http2-settings")),
        (None, None)
    );
}

/// A server that answers every request with a redirect to `location`; `{}` is its own address.
async fn redirecting(status: &'static str, location: &'static str) -> Server {
    Server::start(move |arrived| {
        let host = arrived.header("host").unwrap_or_default();
        let location = location.replace("{}", host);
        let head =
            format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        vec![Step::Send(head.into_bytes())]
    })
    .await
}

#[tokio::test]
async fn a_redirect_of_a_server_never_names_the_server() {
    for (status, location, expected) in [
        (
            "307 Temporary Redirect",
            "http://{}/v1/files?x=1",
            Ok(Some("/v1/files?x=1")),
        ),
        ("308 Permanent Redirect", "/v1/files", Ok(Some("/v1/files"))),
        ("302 Found", "http://10.1.2.3:8000/v1/files", Err(502)),
        ("302 Found", "//elsewhere/v1/files", Err(502)),
        ("201 Created", "http://10.1.2.3:8000/v1/files/1", Ok(None)),
    ] {
        let server = redirecting(status, location).await;
        let yaml = format!(
            "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}",
            server.url()
        );
        let gateway = Gateway::start(config(&[], &yaml)).await;
        let answer = gateway
            .post("/v1/embeddings", r#"{"model":"Qwen3-tiny"}"#)
            .await;
        match expected {
            Ok(expected) => assert_eq!(answer.header("location"), expected, "{location}"),
            Err(status) => {
                let code = "upstream_redirect".to_owned();
                assert_eq!(
                    answer.error(),
                    (status, "server_error".into(), code),
                    "{location}"
                );
                assert_eq!(answer.header("location"), None);
            }
        }
    }
}

#[tokio::test]
async fn behind_envoy_a_redirect_leads_to_the_same_host_or_nowhere() {
    use envoy_types::pb::envoy::{
        config::core::v3::{HeaderMap, HeaderValue},
        service::ext_proc::v3::{
            HttpHeaders, processing_request::Request, processing_response::Response,
        },
    };
    let yaml = "ext_proc: { listen: '127.0.0.1:0' }\nmodels: { Qwen3-tiny: {} }";
    let gateway = Gateway::start(config(&[], yaml)).await;
    let header = |key: &str, value: &str| HeaderValue {
        key: key.into(),
        raw_value: value.into(),
        ..HeaderValue::default()
    };
    for (location, expected) in [
        ("https://models.example/v1/files/", Some("/v1/files/")),
        ("/v1/files/", Some("/v1/files/")),
        ("http://vllm:8000/v1/files/", None),
    ] {
        let mut stream = EnvoyStream::open(gateway.envoy.unwrap(), Some(Buffered)).await;
        let ask = ClientRequest {
            method: "GET",
            path: "/v1/files",
            headers: vec![(":authority", "models.example")],
            pieces: vec![],
            trailers: false,
        };
        stream.send_headers(&ask);
        stream.next_reply().await.unwrap();
        stream.send(Request::ResponseHeaders(HttpHeaders {
            headers: Some(HeaderMap {
                headers: vec![header(":status", "307"), header("location", location)],
            }),
            ..HttpHeaders::default()
        }));
        match (stream.next_reply().await.unwrap(), expected) {
            (Response::ResponseHeaders(reply), Some(expected)) => {
                let shown = format!("{:?}", reply.response);
                let sets = reply.response.unwrap().header_mutation.unwrap().set_headers;
                let set = sets
                    .into_iter()
                    .find_map(|option| option.header.filter(|header| header.key == "location"));
                let location =
                    set.map_or_else(|| location.as_bytes().to_vec(), |set| set.raw_value);
                assert_eq!(location, expected.as_bytes(), "{shown}");
            }
            (Response::ImmediateResponse(refused), None) => {
                assert_eq!(refused.status.unwrap().code, 502, "{location}");
            }
            (reply, _) => panic!("{location}: {reply:?}"),
        }
    }
}

#[tokio::test]
async fn without_file_descriptors_a_connection_gets_a_503_that_says_so() {
    let server = Server::friendly().await;
    let plain = Process::command(&["--upstream", &server.url()], &[]);
    let plain = plain.as_std();
    let mut limited = tokio::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]);
    limited.arg(plain.get_program()).args(plain.get_args());
    limited.envs(
        plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let process = Process::of(limited).await;
    let mut held = Vec::new();
    let mut refused = String::new();
    until("a connection is refused", async || {
        let mut stream = TcpStream::connect(process.address).await.unwrap();
        let mut answer = [0; 2048];
        let read = tokio::time::timeout(
            std::time::Duration::from_millis(300),
            stream.read(&mut answer),
        )
        .await;
        held.push(stream);
        if let Ok(Ok(count)) = read {
            refused = String::from_utf8_lossy(&answer[..count]).into_owned();
        }
        !refused.is_empty()
    })
    .await;
    let answer = parse(refused.as_bytes());
    assert_eq!(
        answer.error(),
        (503, "server_error".into(), "no_descriptor".into())
    );
    assert!(answer.text().contains("ulimit -n") && answer.header("x-request-id").is_some());
    process.said_text("ulimit -n").await;
    held.clear();
    until("it serves again", async || {
        send(process.address, "GET", "/health", &[], "")
            .await
            .status
            == 200
    })
    .await;
}
