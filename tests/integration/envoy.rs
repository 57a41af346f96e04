//! The Envoy door: the same decision, bytes and headers as the HTTP door, in every body mode.

use std::{net::SocketAddr, time::Duration};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    processing_request::Request, processing_response::Response,
};
use thinkgate::state::AppState;
use tokio::time::sleep;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::support::{
    EASY, Gateway, HARD, Server, chat, config,
    envoy::{
        Buffered, ClientRequest, EnvoyResult, EnvoyStream, FullDuplexStreamed, Streamed, through,
    },
};

const MODES:
    [envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
        3] = [Buffered, Streamed, FullDuplexStreamed];

const DECISION_HEADERS: [&str; 5] = [
    "x-thinkgate-mode",
    "x-thinkgate-why",
    "x-thinkgate-score",
    "x-thinkgate-domain",
    "x-thinkgate-model",
];

fn settings(server: &Server, more: &str) -> String {
    format!(
        "
ext_proc: {{ listen: '127.0.0.1:0' }}
models:
  Qwen3-tiny: {{ endpoints: [{{ url: '{0}' }}] }}
  renamed: {{ endpoints: [{{ url: '{0}', model: Qwen/Qwen3-8B }}] }}
  oss: {{ family: gpt_oss, endpoints: [{{ url: '{0}' }}] }}
  thinker: {{ endpoints: [{{ url: '{0}', model: QwQ-32B }}] }}
  talker: {{ endpoints: [{{ url: '{0}', model: Qwen2.5-7B-Instruct }}] }}
  shut: {{ gate: false, endpoints: [{{ url: '{0}', model: Qwen3-4B }}] }}
aliases:
  auto: {{ reasoning: thinker, direct: talker, unchanged: talker }}
{more}",
        server.url()
    )
}

fn in_flight(state: &AppState) -> usize {
    state.concurrency.in_use()
}

#[tokio::test]
async fn both_doors_send_the_same_bytes_and_decision_headers() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &settings(&server, ""))).await;
    let envoy = gateway.envoy.unwrap();
    let named = |model: &str, prompt: &str| chat(prompt).replace("Qwen3-tiny", model);
    let own_choice = chat(HARD).replace("\"model\"", "\"reasoning_effort\":\"low\",\"model\"");
    let odd = format!(
        "{{ \"t\" : 1.0, \"m\\u006fdel\":\"renamed\",\"e\":1e3,\n\"chat_template_kwargs\": null, \"messages\": [{{\"role\":\"user\",\"content\":\"{HARD} \\u00e9\"}}] }} "
    );
    let with_mode = |mode| vec![("x-thinkgate-mode", mode)];
    let cases: Vec<(String, Vec<(&str, &str)>)> = vec![
        (chat(EASY), vec![]),
        (chat(HARD), vec![]),
        (named("renamed", HARD), vec![]),
        (named("oss", EASY), vec![]),
        (named("auto", EASY), vec![]),
        (named("auto", HARD), vec![]),
        (named("shut", HARD), vec![]),
        (named("talker", HARD), vec![]),
        (own_choice.clone(), vec![]),
        (own_choice, with_mode("direct")),
        (chat(EASY), with_mode("reasoning")),
        (chat(EASY), with_mode("unchanged")),
        (chat(EASY), with_mode("auto")),
        (odd, vec![]),
        (
            chat(&"A long story about a lighthouse. ".repeat(9_000)),
            with_mode("direct"),
        ),
        // and requests that are refused
        ("{\"model\":".into(), vec![]),
        (String::new(), vec![]),
        (named("gone", EASY), vec![]),
        (chat(EASY), with_mode("sometimes")),
        (r#"{"model":"Qwen3-tiny"}"#.into(), vec![]),
        (
            chat(EASY).replace("\"model\"", "\"messages\":[],\"model\""),
            vec![],
        ),
    ];
    for (body, headers) in &cases {
        let shown = body.get(..200).unwrap_or(body);
        let before = server.arrived().len();
        let by_http = gateway
            .post_with("/v1/chat/completions", headers, body)
            .await;
        let arrived = server.arrived().into_iter().nth(before);
        for mode in MODES {
            let ask = ClientRequest::chat(body).with(headers);
            match (through(envoy, mode, &ask).await, &arrived) {
                (EnvoyResult::Sent(sent), Some(arrived)) => {
                    assert_eq!(sent.body, arrived.body, "{mode:?} {shown}");
                    for name in DECISION_HEADERS {
                        let value = sent.answer.get(name).map(String::as_str);
                        assert_eq!(value, by_http.header(name), "{mode:?} {name} {shown}");
                    }
                    assert!(!sent.answer.contains_key("x-thinkgate-forged"));
                    assert!(sent.largest <= 64 << 10, "{}", sent.largest);
                }
                (EnvoyResult::Refused(refused), None) => {
                    assert_eq!(
                        refused.status,
                        u32::from(by_http.status),
                        "{mode:?} {shown}"
                    );
                    assert_eq!(refused.body, by_http.text(), "{mode:?} {shown}");
                    assert_eq!(refused.headers["content-type"], "application/json");
                }
                (did, arrived) => panic!("{mode:?} {shown}: {did:?} and {arrived:?}"),
            }
        }
    }
    assert_eq!(in_flight(&gateway.state()), 0);
}

#[tokio::test]
async fn a_route_can_be_chosen_by_mode_and_model_and_no_client_can_forge_them() {
    let server = Server::friendly().await;
    let open = settings(&server, "").replace("0' }", "0', unguarded_paths: true }");
    let gateway = Gateway::start(config(&[], &open)).await;
    let envoy = gateway.envoy.unwrap();
    let forged = [
        ("x-thinkgate-model", "expensive"),
        ("x-thinkgate-mode", "direct"),
        ("x-thinkgate-tier", "gold"),
    ];
    let body = chat(HARD).replace("Qwen3-tiny", "renamed");
    for mode in MODES {
        let sent = through(envoy, mode, &ClientRequest::chat(&body).with(&forged))
            .await
            .sent();
        assert!(
            sent.rerouted,
            "{mode:?}: the route was chosen by the client's headers"
        );
        assert_eq!(sent.headers.get("x-thinkgate-tier"), None, "{mode:?}");
        let routing_headers = ["x-thinkgate-mode", "x-thinkgate-model"]
            .map(|name| sent.headers.get(name).map(String::as_str));
        match mode {
            Streamed => assert_eq!(
                routing_headers,
                [None, None],
                "decided after the headers were forwarded"
            ),
            _ => assert_eq!(
                routing_headers,
                [Some("direct"), Some("Qwen/Qwen3-8B")],
                "{mode:?}"
            ),
        }
    }
    // nor by a request that is not judged
    for (path, pieces) in [("/v1/models", vec![]), ("/login", vec![&b"a=b"[..]])] {
        for mode in MODES {
            let ask = ClientRequest {
                path,
                pieces: pieces.clone(),
                ..ClientRequest::chat("")
            }
            .with(&forged);
            let sent = through(envoy, mode, &ask).await.sent();
            assert!(sent.rerouted, "{path}");
            assert!(
                !sent
                    .headers
                    .keys()
                    .any(|name| name.starts_with("x-thinkgate")),
                "{sent:?}"
            );
            assert_eq!(sent.body, pieces.concat());
        }
    }
}

#[tokio::test]
async fn a_body_in_chunks_or_with_trailers_is_judged_as_one() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &settings(&server, ""))).await;
    let envoy = gateway.envoy.unwrap();
    let body = chat(HARD);
    let want = through(envoy, Buffered, &ClientRequest::chat(&body))
        .await
        .sent()
        .body;
    assert_ne!(want, body.as_bytes());
    for (mode, trailers) in [
        (Buffered, true),
        (Streamed, false),
        (FullDuplexStreamed, false),
        (FullDuplexStreamed, true),
    ] {
        for size in [1, 7, body.len()] {
            let pieces = body.as_bytes().chunks(size).collect();
            let ask = ClientRequest {
                pieces,
                trailers,
                ..ClientRequest::chat(&body)
            };
            let sent = through(envoy, mode, &ask).await.sent();
            assert_eq!(sent.body, want, "{mode:?} by {size}");
        }
    }
    // A reply to trailers cannot carry the held body, so the request is refused rather than forwarded without its body.
    let ask = ClientRequest {
        trailers: true,
        ..ClientRequest::chat(&body)
    };
    let refused = through(envoy, Streamed, &ask).await.refused();
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("trailers"), "{}", refused.body);
}

#[tokio::test]
async fn other_routes_get_the_models_name_and_are_not_judged() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &settings(&server, ""))).await;
    let envoy = gateway.envoy.unwrap();
    let body = r#"{"input": "x", "model" : "renamed"}"#;
    let easy = chat(EASY);
    for mode in MODES {
        let ask = |path, body| ClientRequest {
            path,
            ..ClientRequest::chat(body)
        };
        let sent = through(envoy, mode, &ask("/v1/embeddings?x=1", body))
            .await
            .sent();
        assert_eq!(
            sent.body,
            body.replace("renamed", "Qwen/Qwen3-8B").as_bytes()
        );
        assert!(!sent.answer.contains_key("x-thinkgate-why"), "{sent:?}");
        let sent = through(envoy, mode, &ask("/prefix/v1/chat/completions", &easy))
            .await
            .sent();
        assert_eq!(sent.answer["x-thinkgate-mode"], "direct");
        let refused = through(envoy, mode, &ask("/v1/embeddings", r#"{"model":"gone"}"#))
            .await
            .refused();
        assert_eq!(refused.status, 404);
        let unnamed = through(envoy, mode, &ask("/v1/files", "abc")).await.sent();
        assert_eq!(unnamed.body, b"abc");
    }
}

#[tokio::test]
async fn keys_are_required_and_not_forwarded() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-alice").unwrap();
    let upstream = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(upstream.path(), "sk-vllm").unwrap();
    let yaml = format!(
        "
ext_proc: {{ listen: '127.0.0.1:0' }}
auth: {{ keys: [{{ name: alice, key: 'file:{}' }}] }}
models:
  Qwen3-tiny: {{}}
  keyed: {{ family: qwen3, api_key: 'file:{}' }}
",
        key.path().display(),
        upstream.path().display()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let envoy = gateway.envoy.unwrap();
    let (plain, keyed) = (chat(EASY), chat(EASY).replace("Qwen3-tiny", "keyed"));
    for mode in MODES {
        let refused = through(envoy, mode, &ClientRequest::chat(&plain))
            .await
            .refused();
        assert_eq!(
            (refused.status, &*refused.headers["www-authenticate"]),
            (401, "Bearer")
        );
        assert!(refused.body.contains("invalid_api_key"), "{}", refused.body);
        let wrong = [("authorization", "Bearer sk-mallory")];
        assert_eq!(
            through(envoy, mode, &ClientRequest::chat(&plain).with(&wrong))
                .await
                .refused()
                .status,
            401
        );
        let right = [("authorization", "Bearer sk-alice")];
        let sent = through(envoy, mode, &ClientRequest::chat(&plain).with(&right))
            .await
            .sent();
        assert_eq!(sent.headers.get("authorization"), None, "{mode:?}");
        let sent = through(envoy, mode, &ClientRequest::chat(&keyed).with(&right))
            .await
            .sent();
        let got = sent.headers.get("authorization").map(String::as_str);
        // In STREAMED mode the headers are forwarded before the body names the model.
        assert_eq!(
            got,
            (mode != Streamed).then_some("Bearer sk-vllm"),
            "{mode:?}"
        );
    }
}

#[tokio::test]
async fn without_models_any_name_is_accepted_and_its_family_recognised() {
    let yaml = "{ext_proc: {listen: '127.0.0.1:0'}}";
    let gateway = Gateway::start(config(&[], yaml)).await;
    let envoy = gateway.envoy.unwrap();
    let ask = |model: &str| chat(EASY).replace("Qwen3-tiny", model);
    let known = ask("deepseek-ai/DeepSeek-V3.1");
    let sent = through(envoy, Buffered, &ClientRequest::chat(&known))
        .await
        .sent();
    assert!(
        String::from_utf8(sent.body)
            .unwrap()
            .contains("\"thinking\":false")
    );
    assert_eq!(
        sent.answer["x-thinkgate-model"],
        "deepseek-ai/DeepSeek-V3.1"
    );
    let unknown = ask("mystery");
    let sent = through(envoy, Buffered, &ClientRequest::chat(&unknown))
        .await
        .sent();
    assert_eq!(sent.body, unknown.as_bytes());
    assert_eq!(sent.answer["x-thinkgate-why"], "unknown");
    // A client's text never becomes a label.
    let metrics = gateway.get("/metrics").await;
    assert!(!metrics.text().contains("mystery"), "{}", metrics.text());
    // The HTTP door has no servers to send it to.
    let answer = gateway.chat(&known).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["error"]["code"], "no_endpoint");
}

#[tokio::test]
async fn a_request_too_large_is_refused_by_its_content_length_or_by_its_bytes() {
    let server = Server::friendly().await;
    let more = "server: { max_body_bytes: 1000 }\n";
    let gateway = Gateway::start(config(&[], &settings(&server, more))).await;
    let envoy = gateway.envoy.unwrap();
    let long = chat(&"x".repeat(2_000));
    for mode in MODES {
        let announced = [("content-length", "2100")];
        for ask in [
            ClientRequest::chat(&long).with(&announced),
            ClientRequest::chat(&long),
        ] {
            let refused = through(envoy, mode, &ask).await.refused();
            assert_eq!(refused.status, 413, "{mode:?}");
        }
    }
    assert_eq!(in_flight(&gateway.state()), 0);
}

/// A request whose headers were admitted and whose body has not arrived.
async fn without_body_at(envoy: SocketAddr, body: &str) -> EnvoyStream {
    let mut stream = EnvoyStream::open(envoy, Some(Buffered)).await;
    stream.send_headers(&ClientRequest::chat(body));
    let reply = stream.next_reply().await;
    assert!(matches!(reply, Some(Response::RequestHeaders(_))));
    stream
}

/// A request whose body has arrived, and whose response has not.
async fn in_flight_at(envoy: SocketAddr, body: &str) -> EnvoyStream {
    let mut stream = without_body_at(envoy, body).await;
    stream.send_body(body.as_bytes(), true);
    let reply = stream.next_reply().await;
    assert!(matches!(reply, Some(Response::RequestBody(_))));
    stream
}

#[tokio::test]
async fn too_many_requests_in_flight_are_refused_with_retry_after() {
    let server = Server::friendly().await;
    let more = "server: { max_in_flight: 1 }\n";
    let gateway = Gateway::start(config(&[], &settings(&server, more))).await;
    let envoy = gateway.envoy.unwrap();
    let body = chat(EASY);
    let first = in_flight_at(envoy, &body).await;
    let refused = through(envoy, Buffered, &ClientRequest::chat(&body))
        .await
        .refused();
    assert_eq!(
        (refused.status, &*refused.headers["retry-after"]),
        (429, "1")
    );
    drop(first); // a client that leaves frees its permit
    for _ in 0..200 {
        if in_flight(&gateway.state()) == 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    through(envoy, Buffered, &ClientRequest::chat(&body))
        .await
        .sent();
}

#[tokio::test]
async fn a_filter_that_only_observes_gets_no_replies_and_its_requests_are_counted() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &settings(&server, ""))).await;
    let body = chat(HARD);
    let mut stream = EnvoyStream::open(gateway.envoy.unwrap(), Some(Streamed)).await;
    stream.observes = true;
    stream.send_headers(&ClientRequest::chat(&body));
    stream.send_body(body.as_bytes(), false);
    stream.send_body(b"", true);
    stream.send(Request::ResponseHeaders(Default::default()));
    let mut metrics = String::new();
    for _ in 0..500 {
        metrics = gateway.get("/metrics").await.text().to_owned();
        if in_flight(&gateway.state()) == 0 && metrics.contains("mode=\"reasoning\"") {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    // Envoy keeps such a stream open for seconds; the permit is free before.
    assert_eq!(in_flight(&gateway.state()), 0);
    assert!(metrics.contains("mode=\"reasoning\""), "{metrics}");
    stream.close();
    assert!(
        stream.next_reply().await.is_none(),
        "an observing filter got a reply"
    );
}

#[tokio::test]
async fn an_older_envoy_that_names_no_mode_is_served() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &settings(&server, ""))).await;
    let body = chat(HARD);
    let mut stream = EnvoyStream::open(gateway.envoy.unwrap(), None).await;
    stream.send_headers(&ClientRequest::chat(&body));
    assert!(matches!(
        stream.next_reply().await,
        Some(Response::RequestHeaders(_))
    ));
    stream.send_body(body.as_bytes(), true);
    let Some(Response::RequestBody(answer)) = stream.next_reply().await else {
        panic!("no reply to the body")
    };
    assert!(answer.response.unwrap().body_mutation.is_some());
}

#[tokio::test]
async fn the_health_service_agrees_with_ready() {
    let unlisted = Server::listing("nothing yet", |_| Vec::new()).await;
    let waiting = config(&[&unlisted], "{ext_proc: {listen: '127.0.0.1:0'}}");
    let waiting = Gateway::start_unready(waiting).await;
    assert_eq!(waiting.get("/ready").await.status, 503);
    assert_eq!(health(&waiting, "").await, "NOT_SERVING");
    let ready = config(&[], "{ext_proc: {listen: '127.0.0.1:0'}, models: {m: {}}}");
    let ready = Gateway::start(ready).await;
    assert_eq!(ready.get("/ready").await.status, 200);
    for service in ["", "envoy.service.ext_proc.v3.ExternalProcessor"] {
        assert_eq!(health(&ready, service).await, "SERVING");
    }
}

/// The status of the gateway's health service, after its first update.
async fn health(gateway: &Gateway, service: &str) -> &'static str {
    sleep(Duration::from_millis(50)).await;
    let address = format!("http://{}", gateway.envoy.unwrap());
    let channel = tonic::transport::Endpoint::try_from(address).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let service = service.to_owned();
    let answer = client.check(HealthCheckRequest { service }).await;
    answer.unwrap().into_inner().status().as_str_name()
}

#[tokio::test]
async fn an_envoy_that_connects_during_the_drain_is_refused_and_not_left_waiting() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &settings(&server, ""))).await;
    let envoy = gateway.envoy.unwrap();
    let body = chat(EASY);
    let mut running = without_body_at(envoy, &body).await;
    let stopped = gateway.stop();
    sleep(Duration::from_millis(100)).await;
    let late = tokio::net::TcpStream::connect(envoy).await;
    assert!(
        late.is_err(),
        "the connection was accepted and left waiting"
    );
    // A running request is served to its end.
    running.send_body(body.as_bytes(), true);
    assert!(matches!(
        running.next_reply().await,
        Some(Response::RequestBody(_))
    ));
    running.close();
    drop(running);
    stopped.await.unwrap().unwrap();
}
