//! Answers in every form that HTTP/1.1 allows a model server, and in some that it does not.

use std::time::Duration;

use crate::support::{
    EASY, Gateway, Server, Step, chat, send,
    server::{OK_BODY, chunk, last_chunk, sse_head},
};

/// A server that answers with these bytes and keeps the connection open.
async fn server_that_sends(answer_bytes: &str) -> Server {
    let answer_bytes = answer_bytes.to_owned();
    Server::start(move |_| vec![Step::Send(answer_bytes.clone().into())]).await
}

/// True when the gateway still has its connection to the server a while after the answer.
async fn keeps_connection(server: &Server) -> bool {
    for _ in 0..20 {
        if server.open() == 0 {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

fn chunks(body: &str) -> String {
    let (one, other) = body.split_at(body.len() / 2);
    format!(
        "{:x};a=b\r\n{one}\r\n{:X}\r\n{other}\r\n0\r\n\r\n",
        one.len(),
        other.len()
    )
}

#[tokio::test]
async fn an_answer_is_read_to_its_end_and_its_connection_is_reused_where_allowed() {
    let (length, chunks) = (OK_BODY.len(), chunks(OK_BODY));
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for (answer_bytes, kept) in [
        (
            format!("{ok}content-length: {length}\r\n\r\n{OK_BODY}"),
            true,
        ),
        (
            format!("{ok}content-length: {length}, {length}\r\n\r\n{OK_BODY}"),
            true,
        ),
        (
            format!("{ok}transfer-encoding: Chunked\r\n\r\n{chunks}"),
            true,
        ),
        (
            format!(
                "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{ok}content-length: {length}\r\n\r\n{OK_BODY}"
            ),
            true,
        ),
        (
            format!("{ok}content-length: {length}\r\nconnection: close\r\n\r\n{OK_BODY}"),
            false,
        ),
        (
            format!("HTTP/1.0 200 OK\r\ncontent-length: {length}\r\n\r\n{OK_BODY}"),
            false,
        ),
        (
            format!("{ok}content-length: {length}\r\n\r\n{OK_BODY}HTTP/1.1 200 OK"),
            false,
        ),
        // A coding overrides a length, which is dropped (RFC 9112, 6.3).
        (
            format!("{ok}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
            true,
        ),
    ] {
        let server = server_that_sends(&answer_bytes).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, OK_BODY),
            "{answer_bytes}"
        );
        assert!(answer.complete, "{answer_bytes}");
        assert_ne!(answer.header("content-length"), Some("4"));
        assert_eq!(answer.header("link"), None);
        assert_eq!(keeps_connection(&server).await, kept, "{answer_bytes}");
    }
}

#[tokio::test]
async fn the_connection_of_an_answer_without_a_body_is_reused() {
    for answer_bytes in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let server = server_that_sends(answer_bytes).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!(answer.text(), "", "{answer_bytes}");
        assert!(keeps_connection(&server).await, "{answer_bytes}");
    }
}

#[tokio::test]
async fn a_coding_that_changes_no_body_is_no_reason_for_a_502() {
    let identity = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n{OK_BODY}");
    let server = Server::start(move |_| {
        let identity = Step::Send(identity.clone().into());
        vec![identity, Step::Close]
    })
    .await;
    let gateway = Gateway::before(&server).await;
    let answer = gateway.chat(&chat(EASY)).await;
    assert_eq!((answer.status, answer.text()), (200, OK_BODY));

    let coded = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n";
    let server = server_that_sends(coded).await;
    let gateway = Gateway::before(&server).await;
    let answer = send(gateway.address, "HEAD", "/v1/files/a", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.header("content-length"), Some("4"));
}

/// Whatever it is, nothing of it goes on, and nobody waits for more of it.
#[tokio::test]
async fn an_ambiguous_or_malformed_answer_is_502_at_once() {
    let chunks = chunks(OK_BODY);
    let whole = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n{OK_BODY}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\n{OK_BODY}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{chunks}"),
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"
        ),
        format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.9".into(),
        "\u{15}\u{3}\u{1}".into(), // an alert of TLS
        "HTTP/2 200\r\n\r\n".into(),
        "HTTP/1.1 20 OK\r\n\r\n".into(),
        // A head whose lines end in a carriage return alone never ends.
        "HTTP/1.1 200 OK\rcontent-length: 2\r\r{}".into(),
        "HTTP/1.1 200 OK\rx".into(),
    ];
    let heads = [
        "content-length: 2, 3",
        "content-length:",
        "content-length: 99999999999999999999",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: \u{e4}",
        "x: a\r\n b",
        "x: a\0b",
    ];
    let heads = heads.map(|head| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{OK_BODY}"));
    for answer_bytes in whole.into_iter().chain(heads) {
        let server = server_that_sends(&answer_bytes).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!(answer.status, 502, "{answer_bytes}");
        let (status, _, code) = answer.error();
        assert_eq!((status, &*code), (502, "upstream_reset"), "{answer_bytes}");
        assert!(!keeps_connection(&server).await, "{answer_bytes}");
    }
}

#[tokio::test]
async fn a_stream_with_a_malformed_chunk_ends_with_an_error_event_after_the_good_chunks() {
    let event = "data: {\"choices\":[]}\n\n";
    for bad in ["x\r\n", "\r\n", "-1\r\n", "5\n", "11111111111111111\r\n"] {
        let server = Server::start(move |_| {
            let bad = Step::Send(bad.to_owned().into());
            vec![sse_head(), chunk(event), bad, last_chunk()]
        })
        .await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert!(
            answer.complete && answer.text().starts_with(event),
            "{bad:?}"
        );
        assert!(
            answer.text().contains("upstream_reset"),
            "{bad:?}: {}",
            answer.text()
        );
        assert!(!keeps_connection(&server).await, "{bad:?}");
    }
}

/// The requests that the second endpoint saw, and the status for the client, when the first one sends these bytes and closes.
async fn next_to_a_server_that_sends(answer_bytes: &str) -> (usize, u16) {
    let answer_bytes = answer_bytes.to_owned();
    let broken =
        Server::start(move |_| vec![Step::Send(answer_bytes.clone().into()), Step::Close]).await;
    let other = Server::friendly().await;
    let gateway = Gateway::preferring(&broken, &other).await;
    let status = gateway.chat(&chat(EASY)).await.status;
    assert_eq!(broken.arrived().len(), 1);
    (other.arrived().len(), status)
}

/// A server with a malformed answer has done the work, and the next one would answer alike. A truncated head means that the server died.
#[tokio::test]
async fn a_malformed_answer_is_not_retried_and_a_truncated_head_is() {
    for answer_bytes in [
        "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9",
    ] {
        assert_eq!(
            next_to_a_server_that_sends(answer_bytes).await,
            (0, 502),
            "{answer_bytes}"
        );
    }
    for answer_bytes in ["", "HTT", "HTTP/1.1 200 OK\r\ncontent-le"] {
        assert_eq!(
            next_to_a_server_that_sends(answer_bytes).await,
            (1, 200),
            "{answer_bytes}"
        );
    }
}
