//! A model server that dies, hangs, or answers something unexpected.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

use super::{settled, until, wait_until_released};
use crate::support::{
    Answer, EASY, Gateway, HARD, Server, Step, chat, config,
    server::{OK_BODY, chunk, json, last_chunk, sse_head},
    streaming,
};

/// A pause after which sent bytes have arrived; a reset right after them may overtake them.
const ARRIVES: Step = Step::Wait(Duration::from_millis(200));

/// The ways a connection ends.
const ENDS: [Step; 3] = [Step::Reset, Step::Close, Step::HalfClose];

/// The answer to a client that asks for a stream, from a server with this script. Checks that the gateway keeps nothing of it.
async fn answer_to(steps: Vec<Step>, yaml: &str) -> Answer {
    let server = Server::start(move |_| steps.clone()).await;
    let gateway = Gateway::with(&server, yaml).await;
    let answer = gateway.chat(&streaming(HARD)).await;
    wait_until_released(&gateway, &server).await;
    answer
}

/// Asserts that a stream is `relayed`, then an error event with this code, then a clean end. Returns the event's message.
fn ends_in_error_event(answer: &Answer, relayed: &str, code: &str) -> String {
    assert_eq!(answer.status, 200);
    assert!(answer.complete, "a clean end");
    let event = answer.text().strip_prefix(relayed).unwrap();
    let data = event.strip_prefix("data: ").unwrap();
    let error: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!(error["error"]["type"], "server_error");
    assert_eq!(error["error"]["code"], code);
    error["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_unreachable_server_is_502() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let yaml =
        format!("models: {{ Qwen3-tiny: {{ endpoints: [{{ url: 'http://{address}' }}] }} }}");
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let unreachable = (
        502,
        "server_error".to_owned(),
        "upstream_unreachable".to_owned(),
    );
    assert_eq!(gateway.chat(&chat(EASY)).await.error(), unreachable);
    settled(&gateway).await;
}

#[tokio::test]
async fn a_server_killed_before_it_answers_is_502() {
    let half = Step::Send(b"HTTP/1.1 200 OK\r\ncontent-".to_vec());
    for steps in ENDS.map(|end| vec![end]).into_iter().chain([
        vec![],
        vec![half.clone(), Step::Reset],
        vec![half, ARRIVES, Step::Close],
    ]) {
        let answer = answer_to(steps, "{}").await;
        let reset = (502, "server_error".to_owned(), "upstream_reset".to_owned());
        assert_eq!(answer.error(), reset);
    }
}

#[tokio::test]
async fn a_stream_whose_server_is_killed_ends_in_an_error_event() {
    for end in ENDS {
        for (sent, relayed) in [
            ("", ""),
            ("data: 1\n\n", "data: 1\n\n"),
            ("data: {\"half", "data: {\"half\n\n"), // the gateway adds the blank line
        ] {
            let mut steps = vec![sse_head()];
            steps.extend((!sent.is_empty()).then(|| chunk(sent)));
            steps.extend([ARRIVES, end.clone()]);
            ends_in_error_event(&answer_to(steps, "{}").await, relayed, "upstream_reset");
        }
    }
}

#[tokio::test]
async fn a_chunk_cut_short_is_relayed_and_ends_in_an_error_event() {
    let steps = vec![
        sse_head(),
        chunk("data: 1\n\n"),
        Step::Send(b"ff\r\ndata: {\"cut".to_vec()),
        ARRIVES,
        Step::Close,
    ];
    let relayed = "data: 1\n\ndata: {\"cut\n\n";
    ends_in_error_event(&answer_to(steps, "{}").await, relayed, "upstream_reset");
}

#[tokio::test]
async fn bytes_sent_right_before_the_connection_closes_reach_the_client() {
    let sent =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half";
    for _ in 0..20 {
        let steps = vec![Step::Send(sent.into()), Step::Close];
        let answer = answer_to(steps, "{}").await;
        assert_eq!((answer.status, answer.text()), (200, "{\"half"));
        assert!(!answer.complete);
    }
}

#[tokio::test]
async fn a_plain_body_that_breaks_is_aborted_not_ended() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for framed in [
        "content-length: 100\r\n\r\n{\"half",
        "transfer-encoding: chunked\r\n\r\n6\r\n{\"half\r\n",
        "transfer-encoding: chunked\r\n\r\n64\r\n{\"half",
    ] {
        for end in ENDS {
            let sent = Step::Send(format!("{head}{framed}").into());
            let answer = answer_to(vec![sent, ARRIVES, end], "{}").await;
            assert_eq!(answer.status, 200);
            // Aborting may drop bytes that were not sent yet.
            assert!("{\"half".starts_with(answer.text()) && !answer.complete);
        }
    }
}

#[tokio::test]
async fn nothing_is_added_after_the_servers_last_event() {
    for text in [
        "data: 1\n\ndata: [DONE]\n\n",
        "data: {\"error\":{\"message\":\"boom\"}}\n\n",
    ] {
        for end in ENDS {
            let steps = vec![sse_head(), chunk(text), ARRIVES, end];
            let answer = answer_to(steps, "{}").await;
            assert!(answer.complete && answer.text() == text);
        }
    }
}

/// A stopping vLLM keeps its sockets open and sends nothing.
#[tokio::test]
async fn a_silent_server_is_a_timeout_that_names_the_limit() {
    let limits = "upstream: { headers_ms: 300, first_chunk_ms: 200, idle_ms: 250 }";
    let answer = answer_to(vec![Step::Hang], limits).await;
    let timeout = (
        504,
        "server_error".to_owned(),
        "upstream_timeout".to_owned(),
    );
    assert_eq!(answer.error(), timeout);
    assert!(answer.text().contains("upstream.headers_ms = 300"));
    let answer = answer_to(vec![sse_head(), Step::Hang], limits).await;
    let message = ends_in_error_event(&answer, "", "upstream_timeout");
    assert!(message.contains("upstream.first_chunk_ms = 200"));
    let steps = vec![sse_head(), chunk("data: 1\n\n"), Step::Hang];
    let answer = answer_to(steps, limits).await;
    let message = ends_in_error_event(&answer, "data: 1\n\n", "upstream_timeout");
    assert!(message.contains("upstream.idle_ms = 250"));
}

#[tokio::test]
async fn a_hung_server_with_an_open_socket_is_504() {
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap(); // the system accepts connections
    let address = hangs.local_addr().unwrap();
    let yaml = format!(
        "{{ upstream: {{ headers_ms: 300 }}, models: {{ Qwen3-tiny: {{ endpoints: [{{ url: 'http://{address}' }}] }} }} }}"
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    let (status, _, code) = gateway.chat(&chat(EASY)).await.error();
    assert_eq!((status, code.as_str()), (504, "upstream_timeout"));
    settled(&gateway).await;
}

#[tokio::test]
async fn a_server_that_accepts_no_connection_in_time_is_504_that_names_the_limit() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let full = socket.listen(0).unwrap(); // nobody accepts, and one connection fills the queue
    let address = full.local_addr().unwrap();
    let _waits = TcpStream::connect(address).await.unwrap();
    let yaml = format!(
        "{{ upstream: {{ connect_ms: 300 }}, models: {{ Qwen3-tiny: {{ endpoints: [{{ url: 'http://{address}' }}] }} }} }}"
    );
    let gateway = Gateway::start_unready(config(&[], &yaml)).await;
    let answer = gateway.chat(&chat(EASY)).await;
    let (status, _, code) = answer.error();
    assert_eq!((status, code.as_str()), (504, "upstream_timeout"));
    let text = answer.text();
    assert!(text.contains("upstream.connect_ms = 300"), "{text}");
    settled(&gateway).await;
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_relayed_unchanged() {
    let page = "<html>a proxy's own page</html>";
    let html = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    let closes = |steps: Vec<Step>| [steps, vec![ARRIVES, Step::Close]].concat();
    for (steps, content_type, body) in [
        (json("200 OK", OK_BODY), "application/json", OK_BODY),
        (vec![Step::Send(html.into())], "text/html", page),
        (
            vec![sse_head(), chunk("no event at all"), last_chunk()],
            "text/event-stream; charset=utf-8",
            "no event at all",
        ),
    ] {
        let answer = answer_to(closes(steps), "{}").await;
        assert_eq!((answer.status, answer.text()), (200, body));
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert!(answer.complete);
    }
}

/// A chunk of bytes, which may split a character.
fn piece(data: &[u8]) -> Step {
    Step::Send([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
}

#[tokio::test]
async fn a_stream_split_at_any_byte_is_relayed_unchanged() {
    let text = "data: {\"a\":\"é\"}\r\n\r\nevent: x\ndata: b\n\ndata: [DONE]\n\n";
    let next = AtomicUsize::new(1);
    let server = Server::start(move |_| {
        let (one, other) = text
            .as_bytes()
            .split_at(next.fetch_add(1, Ordering::Relaxed));
        let wait = Step::Wait(Duration::from_millis(2));
        vec![sse_head(), piece(one), wait, piece(other), last_chunk()]
    })
    .await;
    let gateway = Gateway::before(&server).await;
    for at in 1..text.len() {
        let answer = gateway.chat(&streaming(HARD)).await;
        assert!(answer.complete && answer.text() == text, "split at {at}");
    }
    let bytes: Vec<Step> = text.as_bytes().chunks(1).map(piece).collect();
    let end = vec![last_chunk(), ARRIVES, Step::Close];
    let answer = answer_to([vec![sse_head()], bytes, end].concat(), "{}").await;
    assert!(answer.complete && answer.text() == text);
}

#[tokio::test]
async fn an_event_of_5_megabytes_is_relayed_unchanged_also_if_it_breaks() {
    let big = format!("data: {}\n\n", "x".repeat(5_000_000));
    let end = vec![last_chunk(), ARRIVES, Step::Close];
    let answer = answer_to([vec![sse_head(), chunk(&big)], end].concat(), "{}").await;
    assert!(answer.complete && answer.text() == big);
    let half = &big[..3_000_000];
    let wait = Step::Wait(Duration::from_millis(500));
    let answer = answer_to(vec![sse_head(), chunk(half), wait, Step::Close], "{}").await;
    ends_in_error_event(&answer, &format!("{half}\n\n"), "upstream_reset");
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_at_once() {
    let server = Server::friendly().await;
    let address = server.address;
    let gateway = Gateway::before(&server).await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    drop(server);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 502);
    let listener = TcpListener::bind(address).await.unwrap();
    let back = Server::on(listener, r#"{"data":[{"id":"Qwen3-tiny"}]}"#, |_| {
        json("200 OK", OK_BODY)
    })
    .await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    until("it got the request", async || !back.arrived().is_empty()).await;
}
