//! Paths, at both doors and with and without keys: whatever a path looks like, no server gets an unjudged chat, an unguarded
//! request, or a request for a denied route.

use percent_encoding::percent_decode_str;
use proptest::{
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};

use super::support::{
    EASY, Gateway, Server, chat, config,
    envoy::{Buffered, ClientRequest, EnvoyResult, assert_refused_alike, through},
    send,
};

const CHAT: &str = "/v1/chat/completions";
const BOB: (&str, &str) = ("authorization", "Bearer sk-bob");

/// A gateway with both doors open in front of a server with two models. `keys`: one key, for one of them.
async fn gateway(
    server: &Server,
    keys: bool,
    more: &str,
) -> (Gateway, Option<tempfile::NamedTempFile>) {
    let file = keys.then(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-bob").unwrap();
        file
    });
    let auth = file.as_ref().map_or_else(String::new, |file| {
        let path = file.path().display();
        format!("auth: {{ keys: [{{ name: bob, key: 'file:{path}', models: [Qwen3-tiny], requests_per_minute: 100000 }}] }}\n")
    });
    let url = server.url();
    let yaml = format!(
        "ext_proc: {{ listen: '127.0.0.1:0'{more} }}\n{auth}\
         models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{url}' }}] }}, hidden: {{ endpoints: [{{ url: '{url}' }}] }} }}"
    );
    (Gateway::start(config(&[], &yaml)).await, file)
}

fn ask<'a>(
    method: &'a str,
    path: &'a str,
    headers: &[(&'a str, &'a str)],
    body: &'a str,
) -> ClientRequest<'a> {
    ClientRequest {
        method,
        path,
        headers: [&[("content-type", "application/json")], headers].concat(),
        pieces: if body.is_empty() {
            vec![]
        } else {
            vec![body.as_bytes()]
        },
        trailers: false,
    }
}

#[tokio::test]
async fn a_slash_too_many_reaches_no_server_and_the_answer_names_the_right_path() {
    let server = Server::friendly().await;
    let (gateway, _) = gateway(&server, false, "").await;
    let envoy = gateway.envoy.unwrap();
    for (path, right) in [
        ("/v1//chat/completions", CHAT),
        ("/v1/chat//completions", CHAT),
        ("//v1/chat/completions", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/v1/chat/completions%0A", CHAT),
        ("/v1/completions/", "/v1/completions"),
        ("/v1//completions", "/v1/completions"),
        ("/v1/models/", "/v1/models"),
        ("/V1/models", "/v1/models"),
        ("/tokenize/", "/tokenize"),
    ] {
        let answer = gateway.post(path, &chat(EASY)).await;
        assert_eq!(answer.error().0, 404, "{path}");
        assert!(
            answer.text().contains(&format!("{right}.")),
            "{path}: {}",
            answer.text()
        );
        assert_eq!(answer.status, 404, "{path}");
        assert_refused_alike(envoy, &ask("POST", path, &[], &chat(EASY)), &answer).await;
    }
    assert!(server.arrived().is_empty());
}

#[tokio::test]
async fn an_admin_route_is_nowhere_in_any_spelling_at_either_door() {
    let server = Server::friendly().await;
    let (gateway, _) = gateway(&server, false, "").await;
    let envoy = gateway.envoy.unwrap();
    for path in [
        "/v1/load_lora_adapter",
        "/v1//load_lora_adapter",
        "/v1/load_lora_adapter/",
        "/v1/models/../load_lora_adapter",
        "/v1/LOAD_lora_adapter",
        "/v1/stream/abc",
        "/inference/v1/generate",
        "/invocations",
        "/generate",
        "/v2/rerank",
        "/pre/tokenize",
        "/sleep",
        "/collective_rpc",
        "/health/../sleep",
        "/pre/V1/chat/completions",
        "/pre/v1%2Fchat%2Fcompletions",
        "/",
        "*",
    ] {
        if path != "*" {
            assert_eq!(gateway.post(path, "{}").await.error().0, 404, "{path}");
        }
        let refused = through(envoy, Buffered, &ask("POST", path, &[], "{}"))
            .await
            .refused();
        assert_eq!(refused.status, 404, "{path}: {refused:?}");
        assert!(
            refused.body.contains("/v1/chat/completions"),
            "{}",
            refused.body
        );
    }
    assert!(server.arrived().is_empty());
}

#[tokio::test]
async fn a_batch_is_answered_that_batches_are_not_judged() {
    let server = Server::friendly().await;
    let (gateway, _) = gateway(&server, false, "").await;
    let body = r#"{"model":"Qwen3-tiny","messages":[[{"role":"user","content":"hi"}]]}"#;
    for path in ["/v1/chat/completions/batch", "/v1/chat/completions//batch"] {
        let answer = gateway.post(path, body).await;
        let kind = "invalid_request_error".to_owned();
        assert_eq!(answer.error(), (501, kind, String::new()), "{path}");
        assert!(answer.text().contains("batch"));
        let behind = format!("/pre{path}");
        for path in [path, &*behind] {
            assert_eq!(answer.status, 501, "{path}");
            assert_refused_alike(
                gateway.envoy.unwrap(),
                &ask("POST", path, &[], body),
                &answer,
            )
            .await;
        }
    }
    assert!(server.arrived().is_empty());
}

#[tokio::test]
async fn behind_envoy_a_path_on_no_list_passes_only_where_it_is_allowed_and_nobody_has_keys() {
    let server = Server::friendly().await;
    let (gateway, _) = gateway(&server, false, ", unguarded_paths: true").await;
    let envoy = gateway.envoy.unwrap();
    for path in ["/health", "/sleep", "/pre/anything", "/generate"] {
        let sent = through(envoy, Buffered, &ask("POST", path, &[], "as it is"))
            .await
            .sent();
        assert_eq!(sent.body, b"as it is", "{path}");
        assert!(!sent.answer.contains_key("x-thinkgate-mode"));
    }
    for path in [
        "/v1/load_lora_adapter",
        "/v1//chat/completions",
        "/pre/v1%2Fchat/completions",
    ] {
        let refused = through(envoy, Buffered, &ask("POST", path, &[], "{}"))
            .await
            .refused();
        assert_eq!(refused.status, 404, "{path}");
    }
    let sent = through(
        envoy,
        Buffered,
        &ask("POST", "/pre/v1/chat/completions", &[], &chat(EASY)),
    )
    .await
    .sent();
    assert_eq!(sent.answer["x-thinkgate-mode"], "direct");
}

#[tokio::test]
async fn behind_envoy_the_methods_are_those_of_the_http_door() {
    let server = Server::friendly().await;
    let (gateway, _) = gateway(&server, false, "").await;
    for (method, path) in [
        ("GET", CHAT),
        ("PUT", CHAT),
        ("GET", "/tokenize"),
        ("TRACE", "/v1/completions"),
        ("CONNECT", "/v1/completions"),
    ] {
        let refused = through(
            gateway.envoy.unwrap(),
            Buffered,
            &ask(method, path, &[], "{}"),
        )
        .await
        .refused();
        assert_eq!(refused.status, 405, "{method} {path}");
        let answer = send(gateway.address, method, path, &[], "{}").await;
        assert_eq!(answer.status, 405, "{method} {path}");
    }
    let preflight = through(
        gateway.envoy.unwrap(),
        Buffered,
        &ask("OPTIONS", CHAT, &[], ""),
    )
    .await;
    assert!(
        matches!(preflight, EnvoyResult::Sent(_)),
        "Envoy's own CORS answers it"
    );
}

#[tokio::test]
async fn an_id_may_begin_and_end_with_a_slash_raw_or_encoded() {
    let server = Server::listing(
        r#"{"data":[{"id":"/srv/weights/small/","owned_by":"vllm"}]}"#,
        |_| vec![],
    )
    .await;
    let gateway = Gateway::before(&server).await;
    for path in [
        "/v1/models//srv/weights/small/",
        "/v1/models/%2Fsrv%2Fweights%2Fsmall%2F",
        "/v1/models/%2fsrv/weights/small%2f",
    ] {
        let answer = gateway.get(path).await;
        let id = answer.json()["id"].as_str().map(str::to_owned);
        assert_eq!(
            (answer.status, id.as_deref()),
            (200, Some("/srv/weights/small/")),
            "{path}"
        );
    }
    let missing = gateway.get("/v1/models/srv/weights/small").await;
    assert_eq!(missing.error().2, "model_not_found");
}

#[tokio::test]
async fn a_prefix_behind_envoy_counts_for_the_key_as_the_route_itself() {
    let server = Server::friendly().await;
    let (gateway, key) = gateway(&server, true, "").await;
    let limited = std::fs::read_to_string(key.unwrap().path()).unwrap();
    assert_eq!(limited, "sk-bob");
    let envoy = gateway.envoy.unwrap();
    let hidden = r#"{"model":"hidden","prompt":"x"}"#;
    for (headers, body, status) in [(&[][..], "{}", 401), (&[BOB][..], hidden, 403)] {
        for path in [
            "/pre/v1/completions",
            "/a/b/v1/embeddings",
            "/v1/rerank",
            "/rerank",
        ] {
            let refused = through(envoy, Buffered, &ask("POST", path, headers, body))
                .await
                .refused();
            assert_eq!(refused.status, status, "{path}");
        }
    }
    let metrics = gateway.get("/metrics").await;
    assert!(
        metrics.text().contains(r#"route="/v1/completions""#),
        "{}",
        metrics.text()
    );
}

// The property: routes x spellings x doors x keys.

const ROUTES: [&str; 16] = [
    CHAT,
    "/v1/chat/completions/batch",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/v1/models/hidden",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/v1/streams",
    "/v1/files/abc",
    "/tokenize",
    "/rerank",
    "/invocations",
    "/generate",
    "/sleep",
    "/inference/v1/generate",
];

/// One way to write a path in another way. The number chooses the place.
fn respell(path: &str, way: usize, place: usize) -> String {
    let characters: Vec<char> = path.chars().collect();
    let at = place % characters.len();
    let slashes: Vec<usize> = (0..characters.len())
        .filter(|index| characters[*index] == '/')
        .collect();
    let slash = slashes
        .get(place % slashes.len().max(1))
        .copied()
        .unwrap_or(0);
    let replaced = |at: usize, with: String| -> String {
        let before: String = characters[..at].iter().collect();
        let after: String = characters[at + 1..].iter().collect();
        format!("{before}{with}{after}")
    };
    let encoded = |mark: &str| replaced(at, format!("{mark}{:02X}", u32::from(characters[at])));
    match way {
        0 => encoded("%"),
        1 => encoded("%25"),
        2 => encoded("%").to_lowercase(),
        3 => replaced(slash, "//".into()),
        4 => replaced(slash, "\\".into()),
        5 => replaced(slash, "%5c".into()),
        6 => replaced(slash, "%2F".into()),
        7 => replaced(slash, "/./".into()),
        8 => replaced(slash, "/x/../".into()),
        9 => replaced(slash, "/%2e%2E/".into()),
        10 => replaced(at, characters[at].to_uppercase().to_string()),
        11 => format!("{path}/"),
        12 => format!("{path}%0A"),
        13 => format!("{path};a=b"),
        14 => format!("{path}%20"),
        15 => format!("/pre{path}"),
        16 => format!("/v1{path}"),
        17 => format!("{path}%3Fa"),
        _ => path.to_owned(),
    }
}

fn spelt() -> impl Strategy<Value = String> {
    let ways = prop::collection::vec((0..20_usize, any::<usize>()), 0..4);
    (select(&ROUTES[..]), ways).prop_map(|(route, ways)| {
        ways.iter().fold(route.to_owned(), |path, (way, place)| {
            respell(&path, *way, *place)
        })
    })
}

/// The routes that some server could take a path for: decoded up to three times, slashes merged or not, with and without each
/// part at the front (which Envoy may take away), and without what some servers leave out.
fn readings(path: &str) -> Vec<String> {
    let mut decoded = vec![path.to_owned()];
    for _ in 0..3 {
        let next = percent_decode_str(decoded.last().unwrap())
            .decode_utf8_lossy()
            .into_owned();
        decoded.push(next);
    }
    let mut all = Vec::new();
    for path in decoded {
        let path = path.to_lowercase().replace('\\', "/");
        let path = path
            .split([';', '?', '#'])
            .next()
            .unwrap_or_default()
            .to_owned();
        let mut merged = path.clone();
        while merged.contains("//") {
            merged = merged.replace("//", "/");
        }
        for path in [path, merged] {
            let mut kept: Vec<&str> = Vec::new();
            for segment in path.split('/') {
                match segment {
                    "." => {}
                    ".." => drop(kept.pop()),
                    segment => kept.push(segment),
                }
            }
            let resolved = kept.join("/");
            for (at, _) in resolved.match_indices('/') {
                all.push(resolved[at..].trim().trim_end_matches('/').to_owned());
            }
        }
    }
    all
}

fn may_be(path: &str, routes: &[&str]) -> bool {
    readings(path)
        .iter()
        .any(|reading| routes.contains(&&**reading))
}

/// Fails when what a server gets is denied, or a chat that was not judged.
fn check(path: &str, is_judged: bool) -> Result<(), TestCaseError> {
    let denied = [
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/streams",
        "/v1/chat/completions/batch",
        "/invocations",
        "/generate",
        "/sleep",
        "/inference/v1/generate",
    ];
    let whole = readings(path);
    // A part of a path is only a route of its own behind `/v1/` or in the beginning.
    let is_denied = whole
        .iter()
        .any(|reading| reading.starts_with("/v1/") && denied.contains(&&**reading));
    prop_assert!(!is_denied && !denied.contains(&path), "denied: {path}");
    prop_assert!(is_judged || !may_be(path, &[CHAT]), "unjudged: {path}");
    Ok(())
}

#[test]
fn no_spelling_of_a_path_gets_past_a_rule_at_either_door_with_or_without_keys() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::friendly());
    let (open, _) = runtime.block_on(gateway(&server, false, ""));
    let (lax, _) = runtime.block_on(gateway(&server, false, ", unguarded_paths: true"));
    let (keyed, _key) = runtime.block_on(gateway(&server, true, ""));
    let hidden = chat(EASY).replace("Qwen3-tiny", "hidden");
    let body = chat(EASY);
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&spelt(), |path| {
        runtime.block_on(async {
            // Over HTTP: what the server itself got.
            let before = server.arrived().len();
            let answer = send(open.address, "POST", &path, &[], &body).await;
            if answer.status >= 400 {
                prop_assert!(answer.json()["error"]["message"].is_string(), "{path}");
            }
            for arrived in server.arrived().iter().skip(before) {
                let got = arrived.line.split(' ').nth(1).unwrap_or_default();
                check(got, answer.header("x-thinkgate-why").is_some())?;
            }
            // With keys: without one, or for a model that is not the key's, nothing arrives.
            let before = server.arrived().len();
            let unkeyed = send(keyed.address, "POST", &path, &[], &body).await;
            prop_assert!(
                matches!(unkeyed.status, 400 | 401),
                "{path}: {}",
                unkeyed.status
            );
            let other = send(keyed.address, "POST", &path, &[BOB], &hidden).await;
            prop_assert!(other.status >= 400, "{path}: {}", other.status);
            prop_assert_eq!(server.arrived().len(), before, "{}", path);
            // Behind Envoy: what it would send.
            for gateway in [&open, &lax] {
                let sent = through(
                    gateway.envoy.unwrap(),
                    Buffered,
                    &ask("POST", &path, &[], &body),
                )
                .await;
                if let EnvoyResult::Sent(sent) = sent {
                    let is_judged = sent.answer.contains_key("x-thinkgate-mode");
                    prop_assert!(
                        is_judged || !may_be(&path, &[CHAT]),
                        "unjudged behind Envoy: {}",
                        path
                    );
                    if gateway.address == open.address {
                        check(&path, is_judged)?;
                    }
                }
            }
            for (headers, body) in [(&[][..], &body), (&[BOB][..], &hidden)] {
                let ask = ask("POST", &path, headers, body);
                let did = through(keyed.envoy.unwrap(), Buffered, &ask).await;
                prop_assert!(
                    matches!(did, EnvoyResult::Refused(_)),
                    "unguarded: {} {:?}",
                    path,
                    headers
                );
            }
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
