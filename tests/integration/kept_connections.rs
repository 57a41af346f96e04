//! Reused connections: one that the server closed while it was idle does not fail the request.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::support::{
    EASY, Gateway, Server, Step, chat, config,
    server::{OK_BODY, json},
};

/// How many requests it takes until each worker has an idle connection to the server.
fn workers() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// Sends requests over one client connection, so that one worker serves them. Returns their statuses.
async fn on_one_worker(gateway: &Gateway, requests: usize) -> Vec<u16> {
    thinkgate::net::tls::install_crypto_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/chat/completions", gateway.address);
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let answer = client.post(&url).body(chat(EASY)).send().await.unwrap();
        statuses.push(answer.status().as_u16());
        answer.bytes().await.unwrap();
    }
    statuses
}

/// How many attempts had this outcome.
async fn attempts(gateway: &Gateway, outcome: &str) -> usize {
    let metrics = gateway.get("/metrics").await;
    let mut lines = metrics.text().lines().filter(|line| {
        line.starts_with("thinkgate_upstream_attempts_total")
            && line.contains(&format!("outcome=\"{outcome}\""))
    });
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse().unwrap();
    lines.next().map_or(0, count)
}

#[tokio::test]
async fn a_stale_connection_is_replaced_without_an_error() {
    let turn = AtomicUsize::new(0);
    let server = Server::start(move |_| match turn.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => json("200 OK", OK_BODY),
        _ => vec![], // closes the reused connection when the next request comes
    })
    .await;
    let gateway = Gateway::with(&server, "upstream: { retries: 0 }").await;
    assert_eq!(on_one_worker(&gateway, 6).await, [200; 6]);
    assert_eq!(server.arrived().len(), 11);
    assert_eq!(attempts(&gateway, "answered").await, 6);
    assert_eq!(attempts(&gateway, "replaced").await, 5);
}

/// The connection was new, so the server may have worked on the request: it is not sent again.
#[tokio::test]
async fn a_reset_of_a_new_connection_is_not_retried() {
    for steps in [vec![], vec![Step::Reset]] {
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::before(&server).await;
        assert_eq!(on_one_worker(&gateway, 3).await, [502; 3]);
        assert_eq!(server.arrived().len(), 3);
        assert_eq!(attempts(&gateway, "reset").await, 3);
    }
}

/// vLLM's server closes a connection that was idle for 5 s. After its event loop stalled, it does so before it reads a request that
/// arrived in time.
#[tokio::test]
async fn a_reused_connection_that_a_stalled_server_closes_late_is_retried() {
    let turn = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        if turn.fetch_add(1, Ordering::Relaxed) == workers() {
            return vec![Step::Wait(Duration::from_millis(600)), Step::Reset];
        }
        json("200 OK", OK_BODY)
    })
    .await;
    let other = Server::friendly().await;
    let yaml = format!(
        "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }}, other: {{ endpoints: [{{ url: '{}' }}] }} }}",
        server.url(),
        other.url()
    );
    let gateway = Gateway::start(config(&[], &yaml)).await;
    for _ in 0..workers() {
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    }
    let elsewhere = chat(EASY).replace("Qwen3-tiny", "other");
    let busy = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Every worker makes new connections while the request waits.
        join_all((0..2 * workers()).map(|_| gateway.chat(&elsewhere))).await
    };
    let late = chat(EASY);
    let (answer, _) = tokio::join!(gateway.chat(&late), busy);
    assert_eq!(answer.status, 200);
    assert_eq!(server.arrived().len(), workers() + 2);
}

/// How long it takes until the gateway has no connection to the server.
async fn until_none_is_open(server: &Server) -> Duration {
    let began = Instant::now();
    while server.open() > 0 && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "upstream: { pool_idle_ms: 500 }").await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    assert_eq!(server.open(), 1);
    let idle = until_none_is_open(&server).await;
    assert!(idle >= Duration::from_millis(400), "{idle:?}");
    assert!(idle < Duration::from_secs(3), "{idle:?}");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_dropped_without_a_request() {
    let server = Server::start(|_| {
        let mut steps = json("200 OK", OK_BODY);
        steps.push(Step::HalfClose);
        steps
    })
    .await;
    let gateway = Gateway::with(&server, "upstream: { pool_idle_ms: 60000 }").await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    let stayed = until_none_is_open(&server).await;
    assert!(stayed < Duration::from_secs(3), "{stayed:?}");
}
