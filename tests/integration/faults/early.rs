//! Answers that come while the request is still being sent: the model server's, and our own.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{settled, until, wait_until_released};
use crate::support::{
    EASY, Gateway, Server, Step, chat,
    http::{PATIENCE, parse},
    server::{OK_BODY, json},
};

/// A chat request too long for any socket buffer, and the header that skips the classifier.
fn long_chat() -> String {
    chat(&"x".repeat(8 << 20))
}
const UNJUDGED: [(&str, &str); 1] = [("x-thinkgate-mode", "unchanged")];
const CHAT: &str = "/v1/chat/completions";

const REJECTION: &str = r#"{"error":{"message":"no","type":"x","code":"y"}}"#;

/// Answers with `status` before the body is read.
async fn server_that_rejects_early(status: &'static str, end: Step) -> Server {
    Server::hasty(move |_| [json(status, REJECTION), vec![end.clone()]].concat()).await
}

#[tokio::test]
async fn a_server_that_answers_before_it_has_read_the_request_is_relayed() {
    for (status, code) in [
        ("401 Unauthorized", 401),
        ("413 Payload Too Large", 413),
        ("429 Too Many Requests", 429),
    ] {
        let server = server_that_rejects_early(status, Step::HalfClose).await;
        let gateway = Gateway::before(&server).await;
        for _ in 0..3 {
            let answer = gateway.post_with(CHAT, &UNJUDGED, &long_chat()).await;
            assert_eq!((answer.status, answer.text()), (code, REJECTION));
            assert!(answer.complete);
        }
        wait_until_released(&gateway, &server).await;
    }
}

/// The reset that follows may overtake the answer, which is then a connection that was reset; it must be rare.
#[tokio::test]
async fn an_early_answer_before_a_reset_is_relayed_most_times() {
    let server = server_that_rejects_early("401 Unauthorized", Step::Close).await;
    let gateway = Gateway::before(&server).await;
    let mut relayed = 0;
    for _ in 0..20 {
        let answer = gateway.post_with(CHAT, &UNJUDGED, &long_chat()).await;
        relayed += usize::from((answer.status, answer.text()) == (401, REJECTION));
        assert!(matches!(answer.status, 401 | 502), "{}", answer.status);
    }
    assert!(relayed >= 15, "{relayed} of 20");
    wait_until_released(&gateway, &server).await;
}

#[tokio::test]
async fn an_early_429_is_retried_at_another_endpoint() {
    let (busy, other) = (
        server_that_rejects_early("429 Too Many Requests", Step::HalfClose).await,
        Server::friendly().await,
    );
    let gateway = Gateway::preferring(&busy, &other).await;
    let answer = gateway.post_with(CHAT, &UNJUDGED, &long_chat()).await;
    assert_eq!((answer.status, answer.text()), (200, OK_BODY));
    let arrived = other.only();
    assert_eq!(arrived.text(), long_chat(), "it got the request whole");
    assert_eq!(arrived.header("transfer-encoding"), None);
    settled(&gateway).await;
}

/// A gateway with one place, one key and small bodies, whose place is taken by the stream that comes with it.
async fn gateway_at_its_limit(server: &Server) -> (Gateway, tokio::task::JoinHandle<()>) {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "sk-alice").unwrap();
    let yaml = format!(
        "server: {{ max_body_bytes: 1000, max_in_flight: 1 }}\nauth: {{ keys: [{{ name: alice, key: 'file:{}' }}] }}",
        key.path().display()
    );
    let gateway = Gateway::with(server, &yaml).await;
    let address = gateway.address;
    let taker = tokio::spawn(async move {
        let key = [("authorization", "Bearer sk-alice")];
        crate::support::send(address, "POST", CHAT, &key, &chat(EASY)).await;
    });
    until("the place is taken", async || !server.arrived().is_empty()).await;
    (gateway, taker)
}

/// What is refused before its body was read: the path, whether it comes with the key, the status and the code.
const OURS: [(&str, bool, u16, &str); 4] = [
    (CHAT, false, 401, "invalid_api_key"),
    ("/nowhere", true, 404, ""),
    (CHAT, true, 429, "overloaded"),
    (CHAT, true, 413, ""), // once the place is free
];

#[tokio::test]
async fn our_early_answer_reaches_a_client_that_is_still_sending() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let (gateway, taker) = gateway_at_its_limit(&server).await;
    for (path, has_key, status, code) in OURS {
        if status == 413 {
            taker.abort();
            settled(&gateway).await;
        }
        let key = if has_key { "sk-alice" } else { "sk-eve" };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\ncontent-length: 1000000000\r\n\r\n"
        );
        let stream = TcpStream::connect(gateway.address).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let sends = async {
            to.write_all(head.as_bytes()).await.unwrap();
            // Until the gateway has had enough: two seconds, or 64 MiB.
            while to.write_all(&[b'x'; 10_000]).await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let reads = async {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all).await; // the reset comes behind the answer
            parse(&all)
        };
        let began = Instant::now();
        let ((), answer) = tokio::join!(sends, reads);
        assert!(answer.complete, "{path}");
        let want = if status == 429 {
            "rate_limit_error"
        } else {
            "invalid_request_error"
        };
        assert_eq!(answer.error(), (status, want.into(), code.into()));
        assert!(began.elapsed() < PATIENCE / 2, "it is listened to for ever");
        if status == 413 {
            settled(&gateway).await;
        }
    }
}

#[tokio::test]
async fn our_early_answer_reaches_a_client_that_reads_only_after_sending_everything() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "server: { max_body_bytes: 1000 }").await;
    let answer = gateway.chat(&chat(&"x".repeat(48 << 20))).await;
    assert_eq!(
        answer.error(),
        (413, "invalid_request_error".into(), "".into())
    );
    assert!(server.arrived().is_empty());
    settled(&gateway).await;
}

#[tokio::test]
async fn our_early_answer_reaches_a_client_that_is_still_sending_over_http2() {
    let server = Server::start(|_| vec![Step::Hang]).await;
    let (gateway, taker) = gateway_at_its_limit(&server).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge();
    let client = client.build().unwrap();
    for (path, has_key, status, code) in OURS {
        if status == 413 {
            taker.abort();
            settled(&gateway).await;
        }
        let endless = stream::unfold((), |()| async {
            sleep(Duration::from_millis(1)).await;
            Some((
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 10_000])),
                (),
            ))
        });
        let asked = client
            .post(format!("http://{}{path}", gateway.address))
            .bearer_auth(if has_key { "sk-alice" } else { "sk-eve" })
            .body(reqwest::Body::wrap_stream(endless));
        let began = Instant::now();
        let answer = asked.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (status, reqwest::Version::HTTP_2)
        );
        let told: serde_json::Value =
            serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(told["error"]["code"].as_str().unwrap_or(""), code);
        assert!(began.elapsed() < PATIENCE / 2, "it is listened to for ever");
    }
    settled(&gateway).await;
}
