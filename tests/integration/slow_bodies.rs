//! Bodies that come slowly, or never whole: they keep no place from others, little memory, and end in time, at both doors.

use std::net::SocketAddr;

use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    faults::{resident, room_for},
    support::{
        EASY, Gateway, Process, Server, Step, chat, config,
        envoy::{
            Buffered, ClientRequest, EnvoyStream, FullDuplexStreamed, Refused, Streamed, refusal,
            through,
        },
        http::{Answer, ask, parse, rest},
        server::{OK_BODY, json},
        until,
    },
};

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n";

/// Sends a head that announces `length` bytes, and the first `sent` of them.
async fn begin(to: SocketAddr, length: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!("{HEAD}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = vec![b' '; sent.min(1 << 20)];
    let mut left = sent;
    while left > 0 {
        let now = left.min(piece.len());
        if stream.write_all(&piece[..now]).await.is_err() {
            break; // it was refused
        }
        left -= now;
    }
    stream
}

/// The answer that is there already; `None` while there is none.
async fn answer_so_far(stream: &mut TcpStream) -> Option<Answer> {
    let mut first = [0];
    let peeked = stream.peek(&mut first);
    let peeked = tokio::time::timeout(std::time::Duration::from_millis(1), peeked).await;
    match peeked {
        Ok(Ok(1)) => Some(parse(&rest(stream).await)),
        _ => None,
    }
}

fn both_doors(server: &Server, settings: &str) -> String {
    format!(
        "server: {{ {settings} }}\next_proc: {{ listen: '127.0.0.1:0' }}\nmodels: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}",
        server.url()
    )
}

async fn is_answered_at_both_doors(gateway: &Gateway) {
    let body = chat(EASY);
    assert_eq!(gateway.chat(&body).await.status, 200);
    for mode in [Buffered, FullDuplexStreamed] {
        through(gateway.envoy.unwrap(), mode, &ClientRequest::chat(&body))
            .await
            .sent();
    }
}

#[tokio::test]
async fn a_thousand_clients_that_send_one_byte_of_their_bodies_keep_nobody_out() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &both_doors(&server, "max_in_flight: 1024"))).await;
    let count = room_for(2 * 1024) / 2;
    let mut slow = Vec::new();
    for _ in 0..count {
        slow.push(begin(gateway.address, 100, 1).await);
    }
    until("all of them are there", async || {
        gateway.state().body_budget.held() == count as u64 * (16 << 10)
    })
    .await;
    is_answered_at_both_doors(&gateway).await;
    assert_eq!(gateway.state().concurrency.in_use(), 0);
    drop(slow);
    until("nothing is held of them", async || {
        gateway.state().body_budget.held() == 0
    })
    .await;
}

#[tokio::test]
async fn a_thousand_bodies_that_never_come_through_envoy_keep_nobody_out() {
    let server = Server::friendly().await;
    let gateway = Gateway::start(config(&[], &both_doors(&server, "max_in_flight: 1024"))).await;
    let body = chat(EASY);
    let request = ClientRequest::chat(&body);
    let count = room_for(2 * 1024) / 2;
    let mut slow = Vec::new();
    for number in 0..count {
        let mode = [Buffered, Streamed, FullDuplexStreamed][number % 3];
        let mut stream = EnvoyStream::open(gateway.envoy.unwrap(), Some(mode)).await;
        stream.send_headers(&request);
        if mode != Buffered {
            stream.send_body(b"{", false);
        }
        slow.push(stream);
    }
    until("all of them are there", async || {
        gateway.state().body_budget.held() == count as u64 * (16 << 10)
    })
    .await;
    is_answered_at_both_doors(&gateway).await;
    drop(slow);
    until("nothing is held of them", async || {
        gateway.state().body_budget.held() == 0
    })
    .await;
}

#[tokio::test]
async fn bodies_held_one_byte_short_are_bounded_in_memory_and_the_rest_gets_429() {
    const LENGTH: usize = 3_000_000;
    let server = Server::friendly().await;
    let limits = [
        ("THINKGATE_SERVER__MAX_BODY_BYTES", "4MiB"),
        ("THINKGATE_SERVER__MAX_BUFFERED_BYTES", "32MiB"),
    ];
    let process = Process::start(&["--upstream", &server.url()], &limits).await;
    let before = resident(&process);
    let mut bodies = Vec::new();
    for _ in 0..60 {
        bodies.push(begin(process.address, LENGTH, LENGTH - 1).await);
    }
    let mut refused = Vec::new();
    until("those beyond the limit are refused", async || {
        let mut held = Vec::new();
        for mut body in std::mem::take(&mut bodies) {
            match answer_so_far(&mut body).await {
                Some(answer) => refused.push(answer),
                None => held.push(body),
            }
        }
        bodies = held;
        refused.len() >= 50
    })
    .await;
    for answer in &refused {
        let overloaded = (429, "rate_limit_error".into(), "overloaded".into());
        assert_eq!(answer.error(), overloaded);
        assert!(answer.header("retry-after").is_some());
        assert!(answer.text().contains("max_buffered_bytes"));
    }
    assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    let grown = resident(&process) - before;
    assert!(grown < 100, "{grown} MiB for 32 MiB of bodies");
    // Those that were taken are served when their last byte is there; they are no JSON.
    let mut last = bodies.pop().unwrap();
    last.write_all(b" ").await.unwrap();
    assert_eq!(parse(&rest(&mut last).await).status, 400);
}

/// Opens a stream at Envoy's door, sends a head and, if there is one, a chunk, and waits for the refusal.
async fn refused_at(
    gateway: &Gateway,
    mode: Option<super::support::envoy::BodySendMode>,
    chunk: Option<&[u8]>,
) -> Refused {
    let mut stream = EnvoyStream::open(gateway.envoy.unwrap(), mode).await;
    let body = chat(EASY);
    stream.send_headers(&ClientRequest::chat(&body));
    if let Some(chunk) = chunk {
        stream.send_body(chunk, false);
    }
    loop {
        match stream.next_reply().await {
            Some(Response::ImmediateResponse(refused)) => {
                assert!(stream.next_reply().await.is_none(), "a reply after it");
                return refusal(refused);
            }
            Some(_) => {}
            None => panic!("the stream ended without a refusal"),
        }
    }
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_through_envoy_is_408() {
    let server = Server::friendly().await;
    for (setting, cases) in [
        (
            "body_ms: 300",
            &[
                (Some(Buffered), None),
                (Some(Streamed), Some(&b"{"[..])),
                (Some(FullDuplexStreamed), None),
                (None, None),
            ][..],
        ),
        (
            "body_idle_ms: 300",
            &[
                (Some(Streamed), None),
                (Some(FullDuplexStreamed), Some(b"{")),
                (None, Some(b"{")),
            ],
        ),
    ] {
        let gateway = Gateway::start(config(&[], &both_doors(&server, setting))).await;
        for (mode, chunk) in cases {
            let refused = refused_at(&gateway, *mode, *chunk).await;
            assert_eq!(refused.status, 408, "{mode:?}");
            let named = format!("server.{} ms", setting.replace(':', " ="));
            assert!(refused.body.contains(&named), "{}", refused.body);
        }
        assert_eq!(gateway.state().body_budget.held(), 0);
        is_answered_at_both_doors(&gateway).await;
    }
}

#[tokio::test]
async fn a_body_beyond_the_bytes_for_all_is_429_through_envoy() {
    let server = Server::friendly().await;
    let limits = "max_body_bytes: 1MiB, max_buffered_bytes: 1MiB";
    let gateway = Gateway::start(config(&[], &both_doors(&server, limits))).await;
    let _held = begin(gateway.address, 1 << 20, 1_000_000).await;
    until("it is there", async || {
        gateway.state().body_budget.held() >= 1_000_000
    })
    .await;
    let chunk = vec![b' '; 100_000];
    let refused = refused_at(&gateway, Some(FullDuplexStreamed), Some(&chunk)).await;
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("overloaded") && refused.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_body_counts_until_a_server_has_answered_because_it_may_be_sent_again() {
    let server = Server::start(|request| match request.text().contains("hang") {
        true => vec![Step::Hang],
        false => json("200 OK", OK_BODY),
    })
    .await;
    let gateway = Gateway::start(config(&[], &both_doors(&server, "max_in_flight: 8"))).await;
    let body = chat("hang");
    let padded = format!("{body}{}", " ".repeat(100_000));
    let waiting = ask(gateway.address, &padded).await;
    until("it waits for its server", async || {
        !server.arrived().is_empty()
    })
    .await;
    let held = gateway.state().body_budget.held();
    assert!(
        held >= 2 * 100_000,
        "{held}: the body, and the copy that is sent"
    );
    drop(waiting);
    until("it is let go", async || {
        gateway.state().body_budget.held() == 0
    })
    .await;
}

#[tokio::test]
async fn the_largest_body_is_taken_when_nothing_else_is_held() {
    let server = Server::friendly().await;
    let limits = "max_body_bytes: 1MiB, max_buffered_bytes: 1MiB";
    let gateway = Gateway::start(config(&[], &both_doors(&server, limits))).await;
    let body = chat(EASY);
    let padded = format!("{body}{}", " ".repeat((1 << 20) - body.len()));
    assert_eq!(gateway.chat(&padded).await.status, 200);
    until("it is let go", async || {
        gateway.state().body_budget.held() == 0
    })
    .await;
    for mode in [Buffered, FullDuplexStreamed] {
        let sent = through(gateway.envoy.unwrap(), mode, &ClientRequest::chat(&padded)).await;
        assert!(sent.sent().body.len() >= padded.len());
    }
}
