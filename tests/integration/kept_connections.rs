//! Connections to a model server are kept between requests; one that the server closed meanwhile is no failure of the request.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::support::{
    EASY, Gateway, Server, Step, chat, config,
    server::{OK_BODY, json},
};

/// How many requests it takes until each worker keeps a connection to the server.
fn workers() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// A client that keeps its connection, and so stays on one worker; the statuses of as many requests.
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

/// How often something came of attempts at endpoints.
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
async fn a_connection_that_is_found_dead_is_replaced_and_nobody_sees_it() {
    let turn = AtomicUsize::new(0);
    let server = Server::start(move |_| match turn.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => json("200 OK", OK_BODY),
        _ => vec![], // the connection had been kept, and is closed as the next request comes
    })
    .await;
    let gateway = Gateway::with(&server, "upstream: { retries: 0 }").await;
    assert_eq!(on_one_worker(&gateway, 6).await, [200; 6]);
    assert_eq!(server.arrived().len(), 11);
    assert_eq!(attempts(&gateway, "answered").await, 6);
    assert_eq!(attempts(&gateway, "replaced").await, 5);
}

/// It was not kept: whatever the server did with the request, it is not asked to do it again.
#[tokio::test]
async fn a_server_that_resets_a_new_connection_is_asked_once() {
    for steps in [vec![], vec![Step::Reset]] {
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::before(&server).await;
        assert_eq!(on_one_worker(&gateway, 3).await, [502; 3]);
        assert_eq!(server.arrived().len(), 3);
        assert_eq!(attempts(&gateway, "reset").await, 3);
    }
}

/// vLLM's server closes a connection that lay unused for 5 s. When its loop stood still meanwhile, it does so before it reads the
/// request that came in time.
#[tokio::test]
async fn a_kept_connection_that_a_stalled_server_closes_late_is_replaced_too() {
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

/// How long it takes until the server has no connection of the gateway's.
async fn until_none_is_open(server: &Server) -> Duration {
    let began = Instant::now();
    while server.open() > 0 && began.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn a_connection_that_lies_unused_is_closed() {
    let server = Server::friendly().await;
    let gateway = Gateway::with(&server, "upstream: { pool_idle_ms: 500 }").await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
    assert_eq!(server.open(), 1);
    let lay = until_none_is_open(&server).await;
    assert!(lay >= Duration::from_millis(400), "{lay:?}");
    assert!(lay < Duration::from_secs(3), "{lay:?}");
}

#[tokio::test]
async fn a_connection_that_its_server_closes_is_let_go_though_nothing_more_is_asked() {
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
