//! Health checks: unhealthy servers get no requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::net::TcpListener;

use super::support::{
    EASY, Gateway, Server, chat, config,
    server::{OK_BODY, json},
    until,
};

/// A server whose `/health` is 503 while the flag is false. It answers all other requests anyway.
async fn with_health_flag() -> (Server, Arc<AtomicBool>) {
    let healthy = Arc::new(AtomicBool::new(true));
    let flag = healthy.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::whole(listener, move |request| {
        match request.line.split(' ').nth(1) {
            Some("/v1/models") => json("200 OK", r#"{"data":[{"id":"Qwen3-tiny"}]}"#),
            Some("/health") if !flag.load(Ordering::Relaxed) => json("503 Service Unavailable", ""),
            Some("/health" | "/tokenize") => json("404 Not Found", ""),
            _ => json("200 OK", OK_BODY),
        }
    });
    (server, healthy)
}

async fn metric(gateway: &Gateway, line: &str) -> bool {
    gateway
        .get("/metrics")
        .await
        .text()
        .lines()
        .any(|found| found == line)
}

#[tokio::test]
async fn an_unhealthy_server_gets_no_requests_until_it_is_healthy() {
    let (sick, healthy) = with_health_flag().await;
    let other = Server::friendly().await;
    let yaml = "upstream: {health_ms: 20, health_results: 2}";
    let gateway = Gateway::start(config(&[&sick, &other], yaml)).await;
    let gauge = |up: u8| {
        format!(
            "thinkgate_endpoint_healthy{{server=\"{}\"}} {up}",
            sick.url()
        )
    };
    for (is_healthy, up) in [(false, 0), (true, 1)] {
        healthy.store(is_healthy, Ordering::Relaxed);
        until("the verdict changes", async || {
            metric(&gateway, &gauge(up)).await
        })
        .await;
        let before = sick.arrived().len();
        for _ in 0..20 {
            assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
        }
        assert_eq!(sick.arrived().len() > before, is_healthy);
    }
}

#[tokio::test]
async fn the_only_server_of_a_model_gets_requests_even_if_unhealthy() {
    let (sick, healthy) = with_health_flag().await;
    healthy.store(false, Ordering::Relaxed);
    let yaml = "upstream: {health_ms: 20, health_results: 1}";
    let gateway = Gateway::start(config(&[&sick], yaml)).await;
    let gauge = format!("thinkgate_endpoint_healthy{{server=\"{}\"}} 0", sick.url());
    until("the verdict changes", async || {
        metric(&gateway, &gauge).await
    })
    .await;
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
}

#[tokio::test]
async fn retries_stay_within_their_budget_when_every_server_fails() {
    let down = || Server::start(|_| json("503 Service Unavailable", "{}"));
    let (one, other) = (down().await, down().await);
    let gateway = Gateway::start(config(&[&one, &other], "{}")).await;
    const REQUESTS: usize = 400;
    for _ in 0..REQUESTS {
        assert_eq!(gateway.chat(&chat(EASY)).await.status, 503);
    }
    let metrics = gateway.get("/metrics").await;
    let retries = |outcome: &str| {
        let line = format!(
            "thinkgate_upstream_retries_total{{model=\"Qwen3-tiny\",outcome=\"{outcome}\"}} "
        );
        let line = metrics
            .text()
            .lines()
            .find_map(|found| found.strip_prefix(&line).map(str::to_owned));
        line.map_or(0, |count| count.parse().unwrap())
    };
    let (made, denied): (usize, usize) = (retries("made"), retries("over_budget"));
    assert_eq!(made + denied, REQUESTS);
    // A hundred are free in ten seconds, and a fifth of the requests is earned; a slow machine takes a few windows.
    assert!(
        (100..REQUESTS).contains(&made) && denied > 0,
        "{made} made, {denied} denied"
    );
}
