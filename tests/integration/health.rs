//! Servers that are asked how they are, before a request finds out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, time::sleep};

use super::support::{
    EASY, Gateway, Server, chat, config,
    server::{OK_BODY, json},
};

/// A server whose `/health` is 503 while the flag is down, and that serves all the same.
async fn ailing() -> (Server, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let flag = well.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::whole(listener, move |request| {
        match request.line.split(' ').nth(1) {
            Some("/v1/models") => json("200 OK", r#"{"data":[{"id":"Qwen3-tiny"}]}"#),
            Some("/health") if !flag.load(Ordering::Relaxed) => json("503 Service Unavailable", ""),
            Some("/health" | "/tokenize") => json("404 Not Found", ""),
            _ => json("200 OK", OK_BODY),
        }
    });
    (server, well)
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
async fn a_server_that_says_it_is_not_well_gets_no_requests_until_it_is() {
    let (sick, well) = ailing().await;
    let other = Server::friendly().await;
    let yaml = "upstream: {health_ms: 20, health_results: 2}";
    let gateway = Gateway::start(config(&[&sick, &other], yaml)).await;
    let gauge = |up: u8| {
        format!(
            "thinkgate_endpoint_healthy{{server=\"{}\"}} {up}",
            sick.url()
        )
    };
    for (is_well, up) in [(false, 0), (true, 1)] {
        well.store(is_well, Ordering::Relaxed);
        while !metric(&gateway, &gauge(up)).await {
            sleep(Duration::from_millis(10)).await;
        }
        let before = sick.arrived().len();
        for _ in 0..20 {
            assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
        }
        assert_eq!(sick.arrived().len() > before, is_well);
    }
}

#[tokio::test]
async fn a_models_only_server_is_tried_however_it_says_it_is() {
    let (sick, well) = ailing().await;
    well.store(false, Ordering::Relaxed);
    let yaml = "upstream: {health_ms: 20, health_results: 1}";
    let gateway = Gateway::start(config(&[&sick], yaml)).await;
    while !metric(
        &gateway,
        &format!("thinkgate_endpoint_healthy{{server=\"{}\"}} 0", sick.url()),
    )
    .await
    {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gateway.chat(&chat(EASY)).await.status, 200);
}

#[tokio::test]
async fn when_every_server_fails_moving_on_stays_within_its_budget() {
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
