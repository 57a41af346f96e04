//! What is read of a request's body, at both doors: what servers take passes, what cannot be read is refused, and nobody waits for a
//! long one.

use std::time::{Duration, Instant};

use serde_json::json;

use super::support::{
    Answer, EASY, Gateway, HARD, Server, Step, chat, config,
    envoy::{Buffered, ClientRequest, EnvoyResult, FullDuplexStreamed, Streamed, through},
    http::exchange,
    server::{OK_BODY, chunk, json, sse_head},
    streaming,
};

const CHAT: &str = "/v1/chat/completions";
const UPLOAD: &str = "/v1/audio/transcriptions";

/// A gateway with both doors in front of two models.
async fn gateway(server: &Server, more: &str) -> Gateway {
    let url = server.url();
    let yaml = format!(
        "
ext_proc: {{ listen: '127.0.0.1:0', max_message_bytes: 100000000 }}
models:
  Qwen3-tiny: {{ family: qwen3, endpoints: [{{ url: '{url}' }}] }}
  whisper: {{ endpoints: [{{ url: '{url}', model: whisper-large }}] }}
{more}"
    );
    Gateway::start(config(&[], &yaml)).await
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    exchange(
        gateway.address,
        &[(request + "\r\n").as_bytes(), body].concat(),
    )
    .await
}

/// Asks through both doors, in every body mode of Envoy's. Returns the answer and, where it was sent on, the body as the server got
/// it, which is the same through each.
async fn ask(
    gateway: &Gateway,
    server: &Server,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (Answer, Option<Vec<u8>>) {
    let answer = post(gateway, path, headers, body).await;
    let sent = (answer.status == 200).then(|| server.arrived().last().unwrap().body.clone());
    for mode in [Buffered, Streamed, FullDuplexStreamed] {
        let request = ClientRequest {
            method: "POST",
            path,
            headers: headers.to_vec(),
            pieces: vec![body],
            trailers: false,
        };
        match through(gateway.envoy.unwrap(), mode, &request).await {
            EnvoyResult::Sent(through_envoy) => {
                let body = Some(through_envoy.body);
                assert!(body == sent, "{mode:?} {path}: {}", answer.status);
            }
            EnvoyResult::Refused(refused) => {
                let both = (refused.status, &*refused.body);
                assert_eq!(both, (u32::from(answer.status), answer.text()), "{mode:?}");
            }
        }
    }
    (answer, sent)
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

#[tokio::test]
async fn what_fastapi_takes_passes_and_only_the_switch_is_added() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let question = chat(EASY);
    let open = question.trim_end_matches('}');
    for body in [
        format!("\u{feff}{question}"),
        format!("{open},\"logit_bias\":{{\"5\":-Infinity}}}}"),
        format!("{open},\"x\":[NaN,Infinity]}}"),
        format!("{open},\"user\":\"\\udc00\"}}"),
    ] {
        let (answer, sent) = ask(&gateway, &server, CHAT, JSON, body.as_bytes()).await;
        assert_eq!(answer.decision(), ("direct", "classifier"), "{body}");
        let off = r#","chat_template_kwargs":{"enable_thinking":false}}"#;
        let wanted = body[..body.len() - 1].to_owned() + off;
        assert_eq!(String::from_utf8(sent.unwrap()).unwrap(), wanted);
        // Not judged, with a model of another name at the server.
        let body = body.replace("Qwen3-tiny", "whisper");
        let (_, sent) = ask(&gateway, &server, "/v1/completions", JSON, body.as_bytes()).await;
        let renamed = body.replace("\"whisper\"", "\"whisper-large\"");
        assert_eq!(String::from_utf8(sent.unwrap()).unwrap(), renamed);
    }
}

#[tokio::test]
async fn a_lone_surrogate_does_not_hide_the_rest_of_a_text() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let (answer, sent) = ask(
        &gateway,
        &server,
        CHAT,
        JSON,
        chat("Prove it \\ud83d\\n/no_think").as_bytes(),
    )
    .await;
    assert_eq!(answer.decision(), ("unchanged", "client"));
    assert_eq!(
        sent.unwrap(),
        chat("Prove it \\ud83d\\n/no_think").as_bytes()
    );
    // Escaped or not, a text is judged alike.
    let escaped: String = HARD
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    for text in [
        HARD.to_owned(),
        escaped.clone(),
        format!("{escaped}\\ud83d"),
    ] {
        let (answer, _) = ask(&gateway, &server, CHAT, JSON, chat(&text).as_bytes()).await;
        assert_eq!(answer.decision(), ("reasoning", "classifier"), "{text}");
    }
}

#[tokio::test]
async fn a_coded_body_or_utf_16_is_refused_and_the_message_says_so() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let question = chat(EASY);
    let mut coded = JSON.to_vec();
    coded.push(("content-encoding", "gzip"));
    for path in [CHAT, "/explain", "/v1/completions", "/tokenize"] {
        for body in [&b"\x1f\x8b\x08\0\0\0"[..], question.as_bytes()] {
            let answer = post(&gateway, path, &coded, body).await;
            assert_eq!(answer.error().0, 415, "{path}");
            assert!(answer.text().contains("`gzip`"), "{}", answer.text());
            assert_eq!(answer.header("accept-encoding"), Some("identity"));
            if path != "/explain" {
                ask(&gateway, &server, path, &coded, body).await;
            }
        }
        let utf16: Vec<u8> = ("\u{feff}".to_owned() + &question)
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for body in [&utf16[..], &utf16[2..]] {
            let answer = post(&gateway, path, JSON, body).await;
            assert_eq!(answer.error().0, 400, "{path}");
            assert!(answer.text().contains("UTF-16"), "{}", answer.text());
        }
    }
    assert_eq!(server.arrived().len(), 0);
    let plain = [
        ("content-type", "application/json"),
        ("content-encoding", "identity"),
    ];
    let (answer, _) = ask(&gateway, &server, CHAT, &plain, question.as_bytes()).await;
    assert_eq!(answer.status, 200);
    // A request without a body is in no coding, whatever it says.
    let get = b"GET /v1/files HTTP/1.1\r\nhost: gate\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
    assert_ne!(exchange(gateway.address, get).await.status, 415);
}

#[tokio::test]
async fn more_than_a_server_could_use_is_refused_by_the_name_of_the_limit() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let members = "\"a\":1,".repeat(1_025);
    let with = |more: &str| format!("{},{more}}}", chat("q").trim_end_matches('}'));
    for (path, body, said) in [
        (
            CHAT,
            with(&format!("{members}\"b\":1")),
            "more than 1024 fields",
        ),
        (
            "/v1/completions",
            with(&format!("{members}\"b\":1")),
            "more than 1024 fields",
        ),
        (
            CHAT,
            with(&format!("\"chat_template_kwargs\":{{{members}\"b\":1}}")),
            "more than 1024 members",
        ),
        (
            CHAT,
            chat("q").replace("Qwen3-tiny", &"m".repeat(513)),
            "longer than 512 bytes",
        ),
        (
            "/v1/completions",
            chat("q").replace("Qwen3-tiny", &"m".repeat(513)),
            "longer than 512 bytes",
        ),
        (
            "/tokenize",
            chat("q").replace("Qwen3-tiny", &"m".repeat(1 << 20)),
            "longer than 512 bytes",
        ),
    ] {
        let (answer, _) = ask(&gateway, &server, path, JSON, body.as_bytes()).await;
        assert_eq!(answer.error().0, 400, "{said}");
        assert!(answer.text().contains(said), "{}", answer.text());
        assert!(answer.body.len() < 1_000);
    }
    let upload = form("model", &"m".repeat(513));
    let (answer, _) = ask(&gateway, &server, UPLOAD, FORM, upload.as_bytes()).await;
    assert!(
        answer.text().contains("longer than 512 bytes"),
        "{}",
        answer.text()
    );
    let answer = gateway
        .get(&format!("/v1/models/{}", "m".repeat(513)))
        .await;
    assert_eq!(answer.error().0, 400);
    assert_eq!(server.arrived().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_bodies_stop_nobody_else_at_either_door() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let turns = |count: usize| {
        let messages = r#"{"role":"user","content":"hi"},"#.repeat(count);
        format!(
            r#"{{"model":"Qwen3-tiny","messages":[{messages}{{"role":"user","content":"{EASY}"}}]}}"#
        )
    };
    let bodies = [
        chat(&"a\\u0062 ".repeat(1 << 18)),
        turns(1 << 16),
        format!(
            "{},\"x\":[{}1]}}",
            chat("q").trim_end_matches('}'),
            "1,".repeat(1 << 20)
        ),
        chat("q").replace(
            "\"user\"",
            &format!(
                "\"user\",\"x\":{}1{}",
                "[".repeat(1 << 20),
                "]".repeat(1 << 20)
            ),
        ),
    ];
    let done = tokio_util::sync::CancellationToken::new();
    let others = async {
        let mut waits = Vec::new();
        while !done.is_cancelled() {
            let began = Instant::now();
            assert_eq!(gateway.get("/health").await.status, 200);
            waits.push(began.elapsed());
        }
        waits.sort();
        waits
    };
    let long = async {
        for body in &bodies {
            for path in [CHAT, "/v1/completions"] {
                let answer = post(&gateway, path, JSON, body.as_bytes()).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            let request = ClientRequest::chat(body);
            through(gateway.envoy.unwrap(), FullDuplexStreamed, &request)
                .await
                .sent();
        }
        done.cancel();
    };
    let (waits, ()) = tokio::join!(others, long);
    // This build is slow, and reads such a body for seconds.
    let late = waits[waits.len() * 98 / 100];
    assert!(
        late < Duration::from_millis(400),
        "{late:?} of {}",
        waits.len()
    );
}

#[tokio::test]
async fn explaining_a_hundred_thousand_turns_answers_with_a_bounded_number_of_them() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "routing: { turns: 16 }").await;
    let turn = r#"{"role":"user","content":"hi"},"#;
    let body = format!(
        r#"{{"model":"Qwen3-tiny","messages":[{}{{"role":"user","content":"hi"}}]}}"#,
        turn.repeat(99_999)
    );
    let answer = gateway.post("/explain", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let explained = answer.json();
    assert_eq!(explained["turns"].as_array().unwrap().len(), 16);
    assert_eq!(explained["body"], json!(null));
    assert!(explained["body_bytes"].as_u64().unwrap() > 3_000_000);
    assert!(answer.body.len() < 10_000, "{}", answer.body.len());
}

#[tokio::test]
async fn explain_shows_a_body_that_is_no_strict_json_as_a_text() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let marked = format!("\u{feff}{}", chat(EASY));
    let explained = gateway.post("/explain", &marked).await.json();
    assert_eq!(explained["body"]["model"], "Qwen3-tiny");
    let body = format!("{},\"x\":NaN}}", chat(EASY).trim_end_matches('}'));
    let explained = gateway.post("/explain", &body).await.json();
    assert!(explained["body"].as_str().unwrap().contains("\"x\":NaN"));
}

const FORM: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=x")];

fn form(name: &str, value: &str) -> String {
    format!(
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\
         --x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--x--\r\n"
    )
}

#[tokio::test]
async fn a_file_name_that_looks_like_the_name_of_a_field_is_a_file_name() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let body = form("model", "whisper").replace("a.wav", "take 1; name=model");
    let (answer, sent) = ask(&gateway, &server, UPLOAD, FORM, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        sent.unwrap(),
        body.replace("whisper", "whisper-large").as_bytes()
    );
}

#[tokio::test]
async fn an_upload_that_two_readers_may_read_in_two_ways_is_refused() {
    let server = Server::friendly().await;
    let gateway = gateway(&server, "").await;
    let upload = form("model", "whisper");
    let latin1: Vec<u8> = upload
        .replace("a.wav", "\u{1}.wav")
        .bytes()
        .map(|byte| if byte == 1 { 0xe9 } else { byte })
        .collect();
    let twice = [(
        "content-type",
        "multipart/form-data; boundary=x; boundary=y",
    )];
    let both = [
        ("content-type", "application/json"),
        ("content-type", "multipart/form-data; boundary=x"),
    ];
    for (headers, body) in [
        (FORM, latin1.as_slice()),
        (&twice, upload.as_bytes()),
        (&both, upload.as_bytes()),
        (
            &[(
                "content-type",
                "multipart/form-data; boundary=x; charset=utf-7",
            )],
            upload.as_bytes(),
        ),
        (FORM, format!("\r\njunk{upload}").as_bytes()),
    ] {
        let (answer, _) = ask(&gateway, &server, UPLOAD, headers, body).await;
        assert_eq!(answer.error().0, 400, "{headers:?}");
    }
    assert_eq!(server.arrived().len(), 0);
}

/// Asks for a stream of a server that sends these steps; returns the answer and how many tokens were counted.
async fn streamed(steps: Vec<Step>) -> (Answer, bool) {
    let server = Server::start(move |_| steps.clone()).await;
    let gateway = Gateway::before(&server).await;
    let answer = gateway.chat(&streaming(EASY)).await;
    super::support::until("the record is written", async || {
        let metrics = gateway.get("/metrics").await;
        let is_answered = |line: &str| {
            line.starts_with("thinkgate_requests_total")
                && line.contains("/v1/chat/completions")
                && line.ends_with(" 1")
        };
        metrics.text().lines().any(is_answered)
    })
    .await;
    let metrics = gateway.get("/metrics").await;
    let is_counted = metrics.text().lines().any(|line| {
        line.starts_with("thinkgate_tokens_total")
            && line.contains("completion")
            && line.ends_with(" 5")
    });
    (answer, is_counted)
}

#[tokio::test]
async fn usage_over_several_lines_is_counted() {
    let event = "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":3,\ndata: \"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
    let steps = vec![
        sse_head(),
        chunk(event),
        super::support::server::last_chunk(),
    ];
    let (answer, is_counted) = streamed(steps).await;
    assert!(is_counted && answer.text() == event);
}

#[tokio::test]
async fn a_stream_with_a_length_is_counted_and_never_grows() {
    let event =
        "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
    let head = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{event}"
        )
    };
    let (answer, is_counted) = streamed(vec![Step::Send(head(event.len()).into())]).await;
    assert!(is_counted && answer.complete && answer.text() == event);
    assert_eq!(
        answer.header("content-length"),
        Some(&*event.len().to_string())
    );
    let cut = vec![Step::Send(head(event.len() + 10).into()), Step::Reset];
    let (answer, is_counted) = streamed(cut).await;
    assert!(is_counted && !answer.complete && answer.text() == event);
}

#[tokio::test]
async fn nothing_is_added_behind_done_with_a_blank() {
    let event = "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n";
    for end in ["data: [DONE] \n\n", "data: [DONE] ", "data: [DONE]"] {
        let steps = vec![
            sse_head(),
            chunk(event),
            chunk(end),
            Step::Wait(Duration::from_millis(50)),
            Step::Reset,
        ];
        let (answer, is_counted) = streamed(steps).await;
        assert!(is_counted, "{end:?}");
        assert_eq!(answer.text(), format!("{event}{end}"));
    }
}

#[tokio::test]
async fn a_server_whose_lines_end_in_a_carriage_return_alone_is_an_error_at_once() {
    let answer = "HTTP/1.1 200 OK\rcontent-type: application/json\rcontent-length: 2\r\r{}";
    let server = Server::start(move |_| vec![Step::Send(answer.into()), Step::Hang]).await;
    let gateway = Gateway::before(&server).await;
    let began = Instant::now();
    let answer = gateway.chat(&chat(EASY)).await;
    assert_eq!(
        answer.error(),
        (502, "server_error".into(), "upstream_reset".into())
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_long_body_is_edited_and_sent_as_a_short_one_is() {
    let server = Server::start(|_| json("200 OK", OK_BODY)).await;
    let gateway = gateway(
        &server,
        "aliases: { auto: { reasoning: whisper, direct: whisper, unchanged: whisper } }",
    )
    .await;
    for length in [10, 100_000, 200_000, 3_000_000] {
        let body = chat(&"word ".repeat(length / 5)).replace("Qwen3-tiny", "auto");
        let (answer, sent) = ask(&gateway, &server, CHAT, JSON, body.as_bytes()).await;
        assert_eq!(answer.status, 200);
        let wanted = body.replace("\"auto\"", "\"whisper-large\"");
        assert!(sent.unwrap() == wanted.as_bytes(), "{length}");
    }
}
