//! Shutdown: running responses finish within the limit, and idle connections delay nothing.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, task::JoinHandle, time::sleep};

use super::{
    support::{
        Answer, EASY, Gateway, Server, Step, chat, config, send,
        server::{chunk, last_chunk, sse_head},
    },
    tls::certificate,
};

/// A stream that pauses for `pause` ms in the middle.
fn slow_stream(pause: u64) -> Vec<Step> {
    vec![
        sse_head(),
        chunk("data: 1\n\n"),
        Step::Wait(Duration::from_millis(pause)),
        chunk("data: [DONE]\n\n"),
        last_chunk(),
    ]
}

async fn send_chat(address: SocketAddr) -> Answer {
    send(address, "POST", "/v1/chat/completions", &[], &chat(EASY)).await
}

/// Sends a chat request and waits until it has arrived at the server.
async fn start_chat(address: SocketAddr, server: &Server) -> JoinHandle<Answer> {
    let chat = tokio::spawn(send_chat(address));
    while server.arrived().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    chat
}

async fn assert_stops_within(limit: Duration, gateway: Gateway) {
    let began = Instant::now();
    gateway.stop().await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(took < limit, "{took:?}");
}

#[tokio::test]
async fn a_running_stream_finishes() {
    let server = Server::start(|_| slow_stream(500)).await;
    let gateway = Gateway::before(&server).await;
    let address = gateway.address;
    let chat = start_chat(address, &server).await;
    let stopped = gateway.stop();
    let answer = chat.await.unwrap();
    assert!(answer.complete && answer.text().ends_with("data: [DONE]\n\n"));
    stopped.await.unwrap().unwrap();
    assert!(
        TcpStream::connect(address).await.is_err(),
        "no new connection is accepted"
    );
}

#[tokio::test]
async fn with_no_request_in_flight_it_stops_at_once_though_connections_are_open() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let _idle = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    assert_stops_within(Duration::from_secs(2), gateway).await;
}

#[tokio::test]
async fn the_drain_has_a_time_limit() {
    let server = Server::start(|_| slow_stream(60_000)).await;
    let gateway = Gateway::with(&server, "server: { drain_ms: 300 }").await;
    let chat = start_chat(gateway.address, &server).await;
    sleep(Duration::from_millis(100)).await;
    assert_stops_within(Duration::from_secs(5), gateway).await;
    let answer = chat.await.unwrap();
    assert!(answer.complete, "{}", answer.text());
    let last = answer.text().trim_end().rsplit("data: ").next().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        last["error"]["code"], "stopping",
        "an aborted stream ends with an error event"
    );
    assert!(!answer.text().contains("[DONE]"));
}

#[tokio::test]
async fn a_request_without_a_response_at_the_end_of_the_drain_gets_a_503() {
    // A server that sends nothing, and one whose error response never ends.
    let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{";
    for steps in [
        vec![Step::Hang],
        vec![Step::Send(refusal.to_vec()), Step::Hang],
    ] {
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::with(&server, "server: { drain_ms: 300 }").await;
        let chat = start_chat(gateway.address, &server).await;
        assert_stops_within(Duration::from_secs(5), gateway).await;
        let answer = chat.await.unwrap();
        assert_eq!(
            answer.error(),
            (503, "server_error".into(), "stopping".into())
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a_silent_connection_to_a_tls_port_does_not_delay_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let server = Server::friendly().await;
    let yaml = format!("server: {{ tls: {{ cert: '{cert}', key: '{key}' }} }}");
    let gateway = Gateway::start(config(&[&server], &yaml)).await;
    let _silent = TcpStream::connect(gateway.address).await.unwrap();
    sleep(Duration::from_millis(100)).await; // until it is accepted
    assert_stops_within(Duration::from_secs(2), gateway).await;
}

#[tokio::test]
async fn during_the_drain_ready_is_503_and_a_late_client_is_served() {
    let server = Server::start(|_| slow_stream(800)).await;
    let gateway = Gateway::before(&server).await;
    let address = gateway.address;
    let running = start_chat(address, &server).await;
    let stopped = gateway.stop();
    sleep(Duration::from_millis(50)).await;
    let ready = send(address, "GET", "/ready", &[], "").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["pending"][0], "stopping");
    assert!(
        send_chat(address)
            .await
            .text()
            .ends_with("data: [DONE]\n\n")
    );
    assert!(running.await.unwrap().complete);
    stopped.await.unwrap().unwrap();
}
