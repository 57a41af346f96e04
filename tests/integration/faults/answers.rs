//! Answers in every form that HTTP/1.1 allows a model server, and in some that it does not.

use std::time::Duration;

use crate::support::{
    EASY, Gateway, Server, Step, chat,
    server::{OK_BODY, chunk, last_chunk, sse_head},
};

/// A server that answers with these bytes and keeps the connection open.
async fn telling(told: &str) -> Server {
    let told = told.to_owned();
    Server::start(move |_| vec![Step::Send(told.clone().into())]).await
}

/// True when the gateway still has its connection to the server a while after the answer.
async fn keeps(server: &Server) -> bool {
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
async fn an_answer_is_read_to_its_end_and_its_connection_kept_where_it_may_be() {
    let (length, chunks) = (OK_BODY.len(), chunks(OK_BODY));
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for (told, kept) in [
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
            false,
        ),
    ] {
        let server = telling(&told).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!((answer.status, answer.text()), (200, OK_BODY), "{told}");
        assert!(answer.complete, "{told}");
        assert_ne!(answer.header("content-length"), Some("4"));
        assert_eq!(answer.header("link"), None);
        assert_eq!(keeps(&server).await, kept, "{told}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_leaves_its_connection_to_others() {
    for told in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let server = telling(told).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&chat(EASY)).await;
        assert_eq!(answer.text(), "", "{told}");
        assert!(keeps(&server).await, "{told}");
    }
}

/// Whatever it is, nothing of it goes on, and nobody waits for more of it.
#[tokio::test]
async fn an_answer_that_means_two_things_or_none_is_502_at_once() {
    let chunks = chunks(OK_BODY);
    for told in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\n{OK_BODY}"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\n{OK_BODY}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{chunks}"),
        format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.9".into(),
        "\u{15}\u{3}\u{1}".into(), // an alert of TLS
    ] {
        let server = telling(&told).await;
        let gateway = Gateway::before(&server).await;
        let (status, _, code) = gateway.chat(&chat(EASY)).await.error();
        assert_eq!((status, &*code), (502, "upstream_reset"), "{told}");
        assert!(!keeps(&server).await, "{told}");
    }
}

#[tokio::test]
async fn a_stream_whose_chunks_make_no_sense_ends_with_an_error_behind_what_did() {
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
        assert!(!keeps(&server).await, "{bad:?}");
    }
}

/// The other of two endpoints, and how the gateway answers when the first does so with these bytes and closes.
async fn beside_one_that_tells(told: &str) -> (usize, u16) {
    let told = told.to_owned();
    let broken = Server::start(move |_| vec![Step::Send(told.clone().into()), Step::Close]).await;
    let other = Server::friendly().await;
    let gateway = Gateway::preferring(&broken, &other).await;
    let status = gateway.chat(&chat(EASY)).await.status;
    assert_eq!(broken.arrived().len(), 1);
    (other.arrived().len(), status)
}

/// The server of the one has done the work, and the next would do it as badly; that of the other is dead.
#[tokio::test]
async fn an_answer_that_makes_no_sense_is_asked_of_nobody_else_and_one_that_is_cut_short_is() {
    for told in [
        "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    ] {
        assert_eq!(beside_one_that_tells(told).await, (0, 502), "{told}");
    }
    for told in [
        "",
        "HTT",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "SSH-2.0-OpenSSH_9.9",
    ] {
        assert_eq!(beside_one_that_tells(told).await, (1, 200), "{told}");
    }
}
