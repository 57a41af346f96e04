//! What breaks, and what the client sees of it: README.md has a table of these tests. Each says exactly what reached the client,
//! and that the gateway kept nothing of it: no place taken, no connection held.

mod early;

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::{Gateway, Server, http::PATIENCE};

/// Waits for what must come true, on however busy a machine.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until no request is in flight any more.
async fn settled(gateway: &Gateway) {
    let is_idle = async || {
        let metrics = gateway.get("/metrics").await;
        metrics
            .text()
            .lines()
            .any(|line| line == "thinkgate_in_flight 0")
    };
    until("no request in flight", is_idle).await;
}

/// Waits until nothing is in flight and no connection to the server is open, not even a pooled one.
async fn let_go(gateway: &Gateway, server: &Server) {
    settled(gateway).await;
    until("no connection to the server", async || server.open() == 0).await;
}
