//! Streams without faults: every byte is relayed unchanged and at once. Streams with faults are tested in `faults`.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use super::support::{
    EASY, Gateway, HARD, Server, Step,
    http::{ask, find, parse},
    server::{chunk, last_chunk, sse_head},
    streaming,
};

#[tokio::test]
async fn each_event_is_relayed_when_it_arrives() {
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
    let mut stream = ask(gateway.address, &streaming(EASY)).await;
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
async fn fifty_events_in_one_packet_are_relayed_in_a_few_chunks() {
    let event = "9\r\ndata: x\n\n\r\n";
    let Step::Send(mut packet) = sse_head() else {
        unreachable!()
    };
    packet.extend(event.repeat(50).bytes());
    packet.extend(b"0\r\n\r\n");
    let server = Server::start(move |_| vec![Step::Send(packet.clone())]).await;
    let gateway = Gateway::before(&server).await;
    let mut stream = ask(gateway.address, &streaming(EASY)).await;
    let mut all = Vec::new();
    while find(&all, b"\r\n0\r\n\r\n").is_none() {
        assert!(stream.read_buf(&mut all).await.unwrap() > 0);
    }
    let body = &all[find(&all, b"\r\n\r\n").unwrap() + 4..];
    let line_ends = body.windows(2).filter(|pair| pair == b"\r\n").count();
    let chunks = line_ends / 2 - 1; // each chunk has two line ends, and the last chunk is empty
    assert_eq!(parse(&all).text(), "data: x\n\n".repeat(50));
    assert!((1..=3).contains(&chunks), "{chunks} chunks");
}

#[tokio::test]
async fn comments_and_unusual_line_ends_are_relayed_unchanged() {
    for text in [
        ": ping\n\ndata: a\r\n\r\nevent: x\rdata: b\r\r\n\n",
        "no sse at all",
        "",
    ] {
        let mut steps = vec![sse_head()];
        steps.extend((!text.is_empty()).then(|| chunk(text)));
        steps.push(last_chunk());
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::before(&server).await;
        let answer = gateway.chat(&streaming(HARD)).await;
        assert!(answer.complete && answer.text() == text);
    }
}
