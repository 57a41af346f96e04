//! Streams: every byte as it came and when it came, and an honest end.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::support::{
    EASY, Gateway, HARD, Server, Step, chat,
    http::{find, parse},
    server::{chunk, last_chunk, sse_head},
};

fn streaming(prompt: &str) -> String {
    chat(prompt).replace("\"model\"", "\"stream\":true,\"model\"")
}

async fn answer_to(steps: Vec<Step>, yaml: &str) -> super::support::Answer {
    let server = Server::start(move |_| steps.clone()).await;
    Gateway::with(&server, yaml)
        .await
        .chat(&streaming(HARD))
        .await
}

/// Asks for a stream on a connection of its own.
async fn ask(gateway: &Gateway) -> TcpStream {
    let body = streaming(EASY);
    let length = body.len();
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n";
    let request = format!("{head}content-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn each_event_leaves_when_it_arrives() {
    let pause = Step::Wait(Duration::from_millis(400));
    let steps = vec![
        sse_head(),
        chunk("data: 1\n\n"),
        pause.clone(),
        chunk("data: 2\n\n"),
        pause,
        chunk("data: [DONE]\n\n"),
        last_chunk(),
    ];
    let server = Server::start(move |_| steps.clone()).await;
    let gateway = Gateway::before(&server).await;
    let mut stream = ask(&gateway).await;
    let began = Instant::now();
    let mut all = Vec::new();
    let mut first = None;
    while stream.read_buf(&mut all).await.unwrap() > 0 {
        if first.is_none() && find(&all, b"data: 1").is_some() {
            first = Some(began.elapsed());
            assert!(find(&all, b"data: 2").is_none());
        }
    }
    assert!(first.unwrap() < Duration::from_millis(350), "{first:?}");
    assert!(began.elapsed() >= Duration::from_millis(800));
    assert_eq!(parse(&all).text(), "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
}

#[tokio::test]
async fn comments_odd_line_ends_and_big_events_pass_untouched() {
    let big = format!("data: {}\n\n", "x".repeat(5_000_000));
    for text in [
        ": ping\n\ndata: a\r\n\r\nevent: x\rdata: b\r\r\n\n",
        "no sse at all",
        big.as_str(),
        "",
    ] {
        let mut steps = vec![sse_head()];
        steps.extend((!text.is_empty()).then(|| chunk(text)));
        steps.push(last_chunk());
        let answer = answer_to(steps, "{}").await;
        assert!(answer.complete && answer.text() == text);
    }
    let text = "data: {\"a\":\"é\"}\n\ndata: [DONE]\n\n";
    let bytes: Vec<Step> = text
        .bytes()
        .map(|byte| Step::Send([b"1\r\n", &[byte][..], b"\r\n"].concat()))
        .collect();
    let answer = answer_to([vec![sse_head()], bytes, vec![last_chunk()]].concat(), "{}").await;
    assert_eq!(answer.text(), text);
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_an_error_event() {
    for (sent, want_prefix) in [
        ("data: 1\n\n", "data: 1\n\n"),
        ("data: {\"half", "data: {\"half\n\n"),
        ("", ""),
    ] {
        let mut steps = vec![sse_head()];
        steps.extend((!sent.is_empty()).then(|| chunk(sent)));
        steps.extend([Step::Wait(Duration::from_millis(50)), Step::Reset]);
        let answer = answer_to(steps, "{}").await;
        assert!(answer.complete, "a clean end");
        let event = answer.text().strip_prefix(want_prefix).unwrap();
        let error: serde_json::Value =
            serde_json::from_str(event.strip_prefix("data: ").unwrap().trim_end()).unwrap();
        assert_eq!(
            (
                error["error"]["type"].as_str(),
                error["error"]["code"].as_str()
            ),
            (Some("server_error"), Some("upstream_reset"))
        );
        assert!(event.ends_with("\n\n") && !event.contains("[DONE]"));
    }
}

#[tokio::test]
async fn a_stream_that_falls_silent_ends_in_an_error_event_by_the_name_of_the_limit() {
    for (steps, limit) in [
        (
            vec![sse_head(), Step::Hang],
            "upstream.first_chunk_ms = 150",
        ),
        (
            vec![sse_head(), chunk("data: 1\n\n"), Step::Hang],
            "upstream.idle_ms = 250",
        ),
    ] {
        let answer = answer_to(steps, "upstream: { first_chunk_ms: 150, idle_ms: 250 }").await;
        assert!(
            answer.complete
                && answer.text().contains(limit)
                && answer.text().contains("upstream_timeout"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn nothing_is_added_behind_the_servers_own_last_word() {
    for text in [
        "data: 1\n\ndata: [DONE]\n\n",
        "data: {\"error\":{\"message\":\"boom\"}}\n\n",
    ] {
        let steps = vec![
            sse_head(),
            chunk(text),
            Step::Wait(Duration::from_millis(50)),
            Step::Reset,
        ];
        let answer = answer_to(steps, "{}").await;
        assert!(answer.complete && answer.text() == text);
    }
}

#[tokio::test]
async fn a_plain_body_that_breaks_is_aborted_never_ended_cleanly() {
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half";
    // A reset that follows at once may overtake the bytes, and is then a server that never answered.
    let pause = Step::Wait(Duration::from_millis(50));
    let answer = answer_to(vec![Step::Send(cut.into()), pause, Step::Reset], "{}").await;
    assert!(!answer.complete && answer.text() == "{\"half");
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"hal\r\n";
    let answer = answer_to(
        vec![
            Step::Send(cut.into()),
            Step::Wait(Duration::from_millis(50)),
            Step::Reset,
        ],
        "{}",
    )
    .await;
    assert!(!answer.complete && answer.text() == "{\"hal");
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_request_to_the_server() {
    for steps in [
        vec![Step::Hang],
        vec![sse_head(), chunk("data: 1\n\n"), Step::Hang],
    ] {
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::before(&server).await;
        let stream = ask(&gateway).await;
        while server.arrived().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(100)).await;
        drop(stream);
        let left = Instant::now();
        while server.gone() == 0 {
            assert!(
                left.elapsed() < Duration::from_secs(2),
                "the server was never told"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_stops_the_server() {
    let piece = chunk(&format!("data: {}\n\n", "x".repeat(60_000)));
    let steps = [vec![sse_head()], vec![piece; 2_000]].concat(); // 120 MB
    let server = Server::start(move |_| steps.clone()).await;
    let gateway = Gateway::before(&server).await;
    let mut stream = ask(&gateway).await;
    let mut start = [0; 1000];
    stream.read_exact(&mut start).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let before = server.sent();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(
        server.sent(),
        before,
        "the server still sends while nobody reads"
    );
    assert!(
        before < 30 << 20,
        "{before} bytes are somewhere between the server and a client that does not read"
    );
}
