//! What a key may be used for, and how often: alike at both doors.

use std::{net::SocketAddr, time::Duration};

use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use tempfile::NamedTempFile;

use super::support::{
    Answer, EASY, Gateway, HARD, Server, Step, chat, config,
    envoy::{Buffered, ClientRequest, EnvoyResult, FullDuplexStreamed, Streamed, through},
    send,
    server::{chunk, json, last_chunk, sse_head},
};

const MODES: [BodySendMode; 3] = [Buffered, Streamed, FullDuplexStreamed];

const ALICE: (&str, &str) = ("authorization", "Bearer sk-alice");
const BOB: (&str, &str) = ("x-api-key", "test");
const JSON: (&str, &str) = ("content-type", "application/json");
/// The hash of `test`.
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A gateway with both doors where alice may use everything and bob what `bob` says.
async fn gateway(server: &Server, bob: &str, models: &str) -> (Gateway, SocketAddr) {
    let alice = NamedTempFile::new().unwrap();
    std::fs::write(alice.path(), "sk-alice\n").unwrap();
    let yaml = format!(
        "
ext_proc: {{ listen: '127.0.0.1:0' }}
auth:
  keys:
    - {{ name: alice, key: 'file:{}' }}
    - {{ name: bob, key: 'sha256:{HASH}', {bob} }}
{}",
        alice.path().display(),
        models.replace("URL", &server.url())
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let envoy = gateway.envoy.unwrap();
    (gateway, envoy)
}

const MODELS: &str = "
models:
  Qwen3-tiny: { endpoints: [{ url: 'URL' }] }
  hidden: { endpoints: [{ url: 'URL' }] }
  talker: { endpoints: [{ url: 'URL', model: Qwen2.5-7B-Instruct }] }
aliases:
  auto: { reasoning: hidden, direct: talker, unchanged: talker }
";

fn asking_for(model: &str) -> String {
    chat(EASY).replace("Qwen3-tiny", model)
}

fn ask<'a>(
    method: &'a str,
    path: &'a str,
    key: (&'a str, &'a str),
    body: &'a str,
) -> ClientRequest<'a> {
    ClientRequest {
        method,
        path,
        headers: vec![JSON, key],
        pieces: Vec::from_iter((!body.is_empty()).then_some(body.as_bytes())),
        trailers: false,
    }
}

#[tokio::test]
async fn a_key_is_good_for_its_models_and_says_nothing_of_others() {
    let server = Server::friendly().await;
    let (gateway, envoy) = gateway(&server, "models: [Qwen3-tiny, auto, gone]", MODELS).await;
    let upload = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nhidden\r\n--x--\r\n";
    let named = |model: &str| format!(r#"{{"model":"{model}","input":"x"}}"#);
    let not_allowed = (403, "model_not_allowed");
    let cases = [
        // judged, and an alias by its own name whatever it stands for
        ("/v1/chat/completions", asking_for("Qwen3-tiny"), (200, "")),
        ("/v1/chat/completions", asking_for("auto"), (200, "")),
        (
            "/v1/chat/completions",
            chat(HARD).replace("Qwen3-tiny", "auto"),
            (200, ""),
        ),
        ("/v1/chat/completions", asking_for("talker"), not_allowed),
        (
            "/v1/chat/completions",
            asking_for("hid\\u0064en"),
            not_allowed,
        ),
        // whether there is such a model is not for this key to know
        ("/v1/chat/completions", asking_for("nowhere"), not_allowed),
        (
            "/v1/chat/completions",
            asking_for("gone"),
            (404, "model_not_found"),
        ),
        // not judged
        ("/v1/embeddings", named("Qwen3-tiny"), (200, "")),
        ("/v1/embeddings", named("auto"), (200, "")),
        ("/v1/embeddings", named("hidden"), not_allowed),
        ("/tokenize", named("hidden"), not_allowed),
        ("/v1/audio/transcriptions", upload.into(), not_allowed),
        // nobody knows what these name, or who else does
        (
            "/v1/completions",
            named("hidden").replace("\"x\"", "NaN"),
            not_allowed,
        ),
        ("/v1/completions", r#"{"input":"x"}"#.into(), (400, "")),
        ("/v1/chat/completions", asking_for(""), (400, "")),
    ];
    for (path, body, (status, code)) in &cases {
        let media = match body == upload {
            true => ("content-type", "multipart/form-data; boundary=x"),
            false => JSON,
        };
        let before = server.arrived().len();
        let answer = send(gateway.address, "POST", path, &[media, BOB], body).await;
        assert_eq!(answer.status, *status, "{path} {body}: {}", answer.text());
        assert_eq!(server.arrived().len() - before, usize::from(*status == 200));
        if *status != 200 {
            let kind = "invalid_request_error".to_owned();
            assert_eq!(
                answer.error(),
                (*status, kind, (*code).to_owned()),
                "{path} {body}"
            );
            assert_eq!(answer.json()["error"]["param"], "model");
            let message = answer.json()["error"]["message"].to_string();
            for other in ["hidden", "talker"] {
                let own = body.contains(&format!("\"{other}\""))
                    || message.contains(&format!("`{other}`"));
                assert!(own || !message.contains(other), "{body}: {message}");
            }
        }
        for mode in MODES {
            let ask = ClientRequest {
                headers: vec![media, BOB],
                ..ask("POST", path, BOB, body)
            };
            match through(envoy, mode, &ask).await {
                EnvoyResult::Sent(sent) => {
                    assert_eq!(*status, 200, "{mode:?} {path} {body}");
                    assert_eq!(sent.body, server.arrived().last().unwrap().body, "{mode:?}");
                    assert_eq!(sent.headers.get("x-api-key"), None);
                }
                EnvoyResult::Refused(refused) => {
                    let got = (refused.status, &*refused.body);
                    assert_eq!(got, (u32::from(*status), answer.text()), "{mode:?} {path}");
                }
            }
        }
    }
    // What bob may not use, alice may.
    let answer = gateway
        .post_with("/v1/chat/completions", &[ALICE], &asking_for("hidden"))
        .await;
    assert_eq!(answer.status, 200);
    let explained = gateway
        .post_with("/explain", &[BOB], &asking_for("hidden"))
        .await;
    assert_eq!(explained.status, 403);
    let metrics = gateway.get("/metrics").await;
    assert!(metrics.text().contains("reason=\"model_not_allowed\""));
}

#[tokio::test]
async fn a_key_is_shown_the_models_it_may_use() {
    let server = Server::friendly().await;
    let (gateway, envoy) = gateway(&server, "models: [Qwen3-tiny, auto, gone]", MODELS).await;
    // Ids alone: the rest of an entry is what the server says, which may be heard between two looks at it.
    let ids = |text: &str| -> Vec<String> {
        let listed: serde_json::Value = serde_json::from_str(text).unwrap();
        let entries = listed["data"].as_array().cloned();
        let entries = entries.unwrap_or_else(|| vec![listed]);
        let id = |entry: &serde_json::Value| entry["id"].as_str().map(str::to_owned);
        entries.iter().filter_map(id).collect()
    };
    let get = async |path, key| send(gateway.address, "GET", path, &[key], "").await;
    assert_eq!(ids(get("/v1/models", ALICE).await.text()).len(), 4);
    let own = get("/v1/models", BOB).await;
    assert_eq!(ids(own.text()), ["Qwen3-tiny", "auto"]);
    for (path, status) in [
        ("/v1/models", 200),
        ("/v1/models/auto", 200),
        ("/v1/models/Qwen3%2Dtiny", 200),
        ("/v1/models/hidden", 403),
        ("/v1/models/nowhere", 403),
        ("/v1/models/gone", 404),
    ] {
        let answer = get(path, BOB).await;
        assert_eq!(answer.status, status, "{path}");
        // Behind Envoy the server would list all it has, so the answer is ours.
        for mode in MODES {
            let answered = through(envoy, mode, &ask("GET", path, BOB, ""))
                .await
                .refused();
            assert_eq!(answered.status, u32::from(status), "{mode:?} {path}");
            match status {
                200 => assert_eq!(ids(&answered.body), ids(answer.text()), "{path}"),
                _ => assert_eq!(answered.body, answer.text(), "{path}"),
            }
            assert_eq!(answered.headers["content-type"], "application/json");
        }
    }
    through(envoy, Buffered, &ask("GET", "/v1/models", ALICE, ""))
        .await
        .sent();
}

#[tokio::test]
async fn a_request_without_a_model_counts_for_the_one_it_gets() {
    let server = Server::friendly().await;
    let only = "models: { Qwen3-tiny: { endpoints: [{ url: 'URL' }] } }";
    let unnamed = chat(EASY).replace("\"model\":\"Qwen3-tiny\",", "");
    for (own, status) in [("Qwen3-tiny", 200), ("another", 403)] {
        let (gateway, envoy) = gateway(&server, &format!("models: [{own}]"), only).await;
        for (method, path, body) in [
            ("POST", "/v1/chat/completions", &*unnamed),
            ("POST", "/v1/embeddings", r#"{"input":"x"}"#),
            ("GET", "/v1/files", ""),
        ] {
            let answer = send(gateway.address, method, path, &[JSON, BOB], body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
            assert!(status == 200 || !answer.text().contains("Qwen3-tiny"));
            for mode in MODES {
                match through(envoy, mode, &ask(method, path, BOB, body)).await {
                    EnvoyResult::Sent(_) => assert_eq!(status, 200, "{mode:?} {path}"),
                    EnvoyResult::Refused(refused) => {
                        assert_eq!(
                            (refused.status, &*refused.body),
                            (403, answer.text()),
                            "{path}"
                        );
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn behind_envoy_a_key_gets_past_no_check_by_what_we_are_not_shown() {
    let server = Server::friendly().await;
    let (_gateway, envoy) = gateway(&server, "models: [Qwen3-tiny]", MODELS).await;
    let body = asking_for("hidden");
    // A filter that shows no bodies, and one that shows the beginning of a long one.
    for path in ["/v1/chat/completions", "/v1/completions"] {
        let refused = through(envoy, BodySendMode::None, &ask("POST", path, BOB, &body))
            .await
            .refused();
        assert_eq!(refused.status, 403, "{path}");
        let mut stream =
            super::support::envoy::EnvoyStream::open(envoy, Some(BodySendMode::BufferedPartial))
                .await;
        stream.send_headers(&ask("POST", path, BOB, &body));
        stream.next_reply().await.unwrap();
        stream.send_body(&body.as_bytes()[..20], false);
        let answer = format!("{:?}", stream.next_reply().await.unwrap());
        assert!(answer.contains("model_not_allowed"), "{answer}");
    }
    // Another spelling of the path; that of a route with rules of its own is refused as over HTTP.
    for (path, status) in [
        ("/%761/chat/completions", 404),
        ("/v1/%63ompletions", 403),
        ("/pre/v1/chat%2Fcompletions", 404),
        ("/%74okenize", 404),
    ] {
        for mode in MODES {
            let refused = through(envoy, mode, &ask("POST", path, BOB, &body))
                .await
                .refused();
            assert_eq!(refused.status, status, "{mode:?} {path}");
        }
    }
    // Where nothing is configured of models, any name is taken, but for this key.
    let (_gateway, envoy) = self::gateway(&server, "models: [Qwen3-tiny]", "").await;
    for (model, is_sent) in [("Qwen3-tiny", true), ("hidden", false), ("", false)] {
        let body = asking_for(model);
        for mode in MODES {
            let did = through(
                envoy,
                mode,
                &ask("POST", "/v1/chat/completions", BOB, &body),
            )
            .await;
            assert_eq!(
                matches!(did, EnvoyResult::Sent(_)),
                is_sent,
                "{mode:?} {model}"
            );
        }
    }
    let listed = through(envoy, Buffered, &ask("GET", "/v1/models", BOB, ""))
        .await
        .refused();
    assert!(
        listed.status == 200 && listed.body.contains("Qwen3-tiny"),
        "{listed:?}"
    );
}

/// Asserts that an answer says to come back, and when.
fn assert_limited(answer: &Answer) {
    let kind = (
        "rate_limit_error".to_owned(),
        "rate_limit_exceeded".to_owned(),
    );
    assert_eq!(answer.error(), (429, kind.0, kind.1));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let server = Server::friendly().await;
    let (gateway, envoy) = gateway(&server, "requests_per_minute: 3", MODELS).await;
    let body = chat(EASY);
    let get = async |path| send(gateway.address, "GET", path, &[BOB], "").await.status;
    for _ in 0..5 {
        for path in [
            "/v1/models",
            "/v1/models/auto",
            "/health",
            "/ready",
            "/metrics",
        ] {
            assert_eq!(get(path).await, 200, "{path} is not counted");
        }
        through(envoy, Buffered, &ask("GET", "/v1/models", BOB, ""))
            .await
            .sent();
        let refused = through(envoy, Buffered, &ask("GET", "/login", BOB, ""))
            .await
            .refused();
        assert_eq!(
            refused.status, 404,
            "a path on no list, which is not counted"
        );
    }
    // Three, at either door, judged or not, sent or only explained.
    assert_eq!(
        gateway.post_with("/explain", &[BOB], &body).await.status,
        200
    );
    let bob = ask("POST", "/v1/chat/completions", BOB, &body);
    through(envoy, Streamed, &bob).await.sent();
    let answer = gateway
        .post_with("/v1/embeddings", &[BOB], r#"{"model":"Qwen3-tiny"}"#)
        .await;
    assert_eq!(answer.status, 200);
    assert_limited(&gateway.post_with("/explain", &[BOB], &body).await);
    for path in ["/v1/chat/completions", "/v1/embeddings", "/score"] {
        assert_limited(&gateway.post_with(path, &[BOB], &body).await);
        for mode in MODES {
            let refused = through(
                envoy,
                mode,
                &ClientRequest {
                    path,
                    ..bob.clone()
                },
            )
            .await
            .refused();
            assert_eq!(refused.status, 429);
            assert!(
                refused.body.contains("rate_limit_exceeded"),
                "{}",
                refused.body
            );
            assert!(refused.headers.contains_key("retry-after"));
        }
    }
    assert_eq!(get("/v1/models").await, 200);
    // Others are not kept waiting.
    assert_eq!(
        gateway
            .post_with("/v1/chat/completions", &[ALICE], &body)
            .await
            .status,
        200
    );
    let metrics = gateway.get("/metrics").await;
    assert!(metrics.text().contains("reason=\"rate_limit_exceeded\""));
    assert!(!metrics.text().contains("reason=\"overloaded\""));
    let taken = gateway.state().concurrency.in_use();
    assert_eq!(taken, 0, "a refused request keeps no place");
}

#[tokio::test]
async fn a_stream_that_runs_goes_on_when_its_keys_requests_are_used_up() {
    let server = Server::start(|request| match request.text().contains("stream") {
        false => json("200 OK", "{}"),
        true => vec![
            sse_head(),
            chunk("data: {\"a\":1}\n\n"),
            Step::Wait(Duration::from_millis(500)),
            chunk("data: [DONE]\n\n"),
            last_chunk(),
        ],
    })
    .await;
    let (gateway, _) = gateway(&server, "requests_per_minute: 1", MODELS).await;
    let streamed = chat(EASY).replace("\"model\"", "\"stream\":true,\"model\"");
    let headers = [BOB];
    let first = gateway.post_with("/v1/chat/completions", &headers, &streamed);
    let (first, second) = tokio::join!(first, async {
        while server.arrived().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gateway
            .post_with("/v1/chat/completions", &[BOB], &chat(EASY))
            .await
    });
    assert_limited(&second);
    assert!(
        first.complete && first.text().ends_with("data: [DONE]\n\n"),
        "{}",
        first.text()
    );
}
