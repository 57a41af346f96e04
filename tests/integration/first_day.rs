//! What happens on somebody's first day with the gateway.

use std::time::Duration;

use thinkgate::config::{BaseUrl, Discover, Secret};
use tokio::{net::TcpListener, time::sleep};

use super::support::{
    EASY, Gateway, HARD, Server, chat, config,
    server::{OK_BODY, json},
};

const MODELS: &str = r#"{"data":[{"id":"Qwen3-tiny","root":"Qwen3-tiny"}]}"#;

#[tokio::test]
async fn the_upstream_is_not_up_yet() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut settings = config(&[], "upstream: { discover_ms: 50 }");
    settings.discover = vec![Discover {
        url: BaseUrl::parse(&format!("http://{address}")).unwrap(),
        api_key: None,
    }];
    let gateway = Gateway::start_unready(settings).await;
    let ready = gateway.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["pending"][0]
            .as_str()
            .unwrap()
            .contains(&address.to_string())
    );
    assert_eq!(gateway.get("/health").await.status, 200);
    let answer = gateway.chat(&chat(EASY)).await;
    assert_eq!(
        answer.error(),
        (503, "server_error".into(), "no_endpoint".into())
    );
    assert!(answer.header("retry-after").is_some());
    let listener = TcpListener::bind(address).await.unwrap();
    let _server = Server::on(listener, MODELS, |_| json("200 OK", OK_BODY)).await;
    for _ in 0..200 {
        if gateway.get("/ready").await.status == 200 {
            assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("never ready");
}

#[tokio::test]
async fn the_upstream_comes_back_with_another_model() {
    let server = Server::friendly().await;
    let address = server.address;
    let gateway = Gateway::with(&server, "upstream: { discover_ms: 50 }").await;
    drop(server);
    sleep(Duration::from_millis(200)).await;
    let listener = TcpListener::bind(address).await.unwrap();
    let _other = Server::on(listener, r#"{"data":[{"id":"zai-org/GLM-4.6"}]}"#, |_| {
        json("200 OK", OK_BODY)
    })
    .await;
    for _ in 0..200 {
        if gateway.get("/v1/models").await.text().contains("GLM") {
            let answer = gateway
                .chat(&chat(EASY).replace("Qwen3-tiny", "zai-org/GLM-4.6"))
                .await;
            assert_eq!(answer.decision(), ("direct", "classifier"));
            assert_eq!(gateway.chat(&chat(EASY)).await.error().2, "model_not_found");
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the new model was never discovered");
}

#[tokio::test]
async fn the_upstream_wants_a_key() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-vllm").unwrap();
    let server = Server::friendly().await;
    let mut settings = config(&[&server], "{}");
    settings.discover[0].api_key =
        Some(Secret::parse(&format!("file:{}", key.path().display())).unwrap());
    let gateway = Gateway::start(settings).await;
    let theirs = [("authorization", "Bearer theirs")];
    assert_eq!(
        gateway
            .post_with("/v1/chat/completions", &theirs, &chat(EASY))
            .await
            .status,
        200
    );
    assert_eq!(
        server.only().header("authorization"),
        Some("Bearer sk-vllm")
    );
}

#[tokio::test]
async fn a_url_that_ends_in_v1_or_carries_a_prefix() {
    let server = Server::friendly().await;
    let mut settings = config(&[], "{}");
    settings.discover = vec![Discover {
        url: BaseUrl::parse(&format!("{}/v1/", server.url())).unwrap(),
        api_key: None,
    }];
    let gateway = Gateway::start(settings).await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    assert!(server.only().line.starts_with("POST /v1/chat/completions "));
    let yaml = format!(
        "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}/team/a/v1' }}] }} }}",
        server.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    assert!(
        server.arrived()[1]
            .line
            .starts_with("POST /team/a/v1/chat/completions ")
    );
}

#[tokio::test]
async fn a_served_model_name_that_says_nothing_about_the_family() {
    let models = r#"{"data":[{"id":"chat","root":"/models/Qwen3-0.6B"},{"id":"my-lora","root":"/l","parent":"Qwen/Qwen3-8B"}]}"#;
    let server = Server::listing(models, |_| json("200 OK", OK_BODY)).await;
    let gateway = Gateway::before(&server).await;
    for model in ["chat", "my-lora"] {
        let answer = gateway.chat(&chat(HARD).replace("Qwen3-tiny", model)).await;
        assert_eq!(answer.decision(), ("reasoning", "classifier"), "{model}");
    }
}

#[tokio::test]
async fn an_id_with_a_slash_raw_or_encoded() {
    let server = Server::listing(
        r#"{"data":[{"id":"Qwen/Qwen3-8B","owned_by":"vllm"}]}"#,
        |_| json("200 OK", OK_BODY),
    )
    .await;
    let gateway = Gateway::before(&server).await;
    for path in ["/v1/models/Qwen/Qwen3-8B", "/v1/models/Qwen%2FQwen3-8B"] {
        let answer = gateway.get(path).await;
        assert_eq!(
            (answer.status, answer.json()["id"].as_str()),
            (200, Some("Qwen/Qwen3-8B")),
            "{path}"
        );
    }
    assert_eq!(
        gateway.get("/v1/models/Qwen/other").await.error().2,
        "model_not_found"
    );
    assert_eq!(
        gateway.get("/v1/models").await.json()["data"][0]["owned_by"],
        "vllm"
    );
}

#[tokio::test]
async fn a_request_without_a_model() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{EASY}"}}]}}"#);
    assert_eq!(
        gateway.chat(&body).await.decision(),
        ("direct", "classifier")
    );
    assert!(
        !server.only().text().contains("\"model\""),
        "the only model needs no name"
    );
    let two = Server::listing(r#"{"data":[{"id":"a"},{"id":"b"}]}"#, |_| {
        json("200 OK", OK_BODY)
    })
    .await;
    let gateway = Gateway::before(&two).await;
    let answer = gateway.chat(&body).await;
    assert_eq!(answer.error().0, 400);
    assert!(answer.text().contains("a, b"));
    assert_eq!(gateway.get("/v1/files").await.error().0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_made_of_their_own_boundary_stop_nobody_else() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let headers = [("content-type", "multipart/form-data; boundary=x")];
    // The first is closed by its first boundary, and what follows is no part of it. The other one has millions of parts.
    let [closed, parts] = ["--x", "--x\r\n"].map(|line| line.repeat((32 << 20) / line.len()));
    let path = "/v1/audio/transcriptions";
    let upload = |body| super::support::send(gateway.address, "POST", path, &headers, body);
    let others = async {
        for _ in 0..20 {
            assert_eq!(gateway.get("/health").await.status, 200);
            let answer = gateway.chat(r#"{"messages":[{"role":"user","content":"hi"}]}"#);
            assert_eq!(answer.await.status, 200);
        }
    };
    let uploads = (upload(&closed), upload(&closed), upload(&parts));
    let (one, two, three, ()) = tokio::join!(uploads.0, uploads.1, uploads.2, others);
    assert_eq!(
        [one.status, two.status],
        [200, 200],
        "the only model is meant"
    );
    assert_eq!(three.error().0, 400);
}

#[tokio::test]
async fn a_multipart_upload_goes_to_the_model_it_names() {
    let server = Server::listing(r#"{"data":[{"id":"a"},{"id":"whisper"}]}"#, |_| {
        json("200 OK", "{}")
    })
    .await;
    let gateway = Gateway::before(&server).await;
    let body = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\u{0}\u{1}\r\n\
                --x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=x")];
    let answer = super::support::send(
        gateway.address,
        "POST",
        "/v1/audio/transcriptions",
        &headers,
        body,
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.only().text(), body);
    let unnamed = body.replace("\"model\"", "\"prompt\"");
    let answer = super::support::send(
        gateway.address,
        "POST",
        "/v1/audio/transcriptions",
        &headers,
        &unnamed,
    )
    .await;
    assert_eq!(answer.error().0, 400);
}

#[tokio::test]
async fn other_routes_are_forwarded_unjudged() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = r#"{"model":"Qwen3-tiny","prompt": "Prove it."}"#;
    for path in [
        "/v1/completions",
        "/v1/embeddings",
        "/tokenize",
        "/detokenize",
        "/v1/rerank",
        "/score",
    ] {
        let answer = gateway.post(path, body).await;
        assert_eq!(
            (answer.status, answer.header("x-thinkgate-mode")),
            (200, None),
            "{path}"
        );
        let arrived = server.arrived().pop().unwrap();
        assert_eq!(
            (arrived.line, arrived.body),
            (format!("POST {path} HTTP/1.1"), body.as_bytes().to_vec())
        );
    }
}

#[tokio::test]
async fn browsers_get_cors_where_it_is_configured_and_others_see_no_difference() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "server: { cors: ['*'] }").await;
    let origin = ("origin", "http://app.test");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,x-custom"),
    ];
    let answer = super::support::send(
        gateway.address,
        "OPTIONS",
        "/v1/chat/completions",
        &preflight,
        "",
    )
    .await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some("*"))
    );
    assert!(answer.header("x-request-id").is_some());
    // `*` does not stand for `Authorization`, so the headers are named.
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization,x-custom")
    );
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    let answer = gateway
        .post_with("/v1/chat/completions", &[origin], &chat(EASY))
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        gateway
            .chat(&chat(EASY))
            .await
            .header("access-control-allow-origin"),
        None
    );
    let closed = Gateway::before(&server).await;
    let answer = closed
        .post_with("/v1/chat/completions", &[origin], &chat(EASY))
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn explain_says_what_would_happen_and_sends_nothing() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(HARD).replace("\"model\"", "\"t\": 1.0, \"model\"");
    let answer = gateway.post("/explain", &body).await;
    let told = answer.json();
    assert_eq!(
        (
            told["mode"].as_str(),
            told["why"].as_str(),
            told["family"].as_str()
        ),
        (Some("reasoning"), Some("classifier"), Some("qwen3"))
    );
    assert!(told["turns"][0]["score"].as_f64().unwrap() > 0.5);
    assert_eq!(told["endpoint"]["url"], server.url());
    assert!(
        answer.text().contains("\"t\": 1.0"),
        "the rewritten body is shown byte for byte"
    );
    assert!(server.arrived().is_empty());
    gateway.chat(&body).await;
    assert!(
        answer
            .text()
            .ends_with(&format!("\"body\":{}}}", server.only().text()))
    );
}
