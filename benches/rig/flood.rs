//! One key that floods, and one that asks now and then: how many of the quiet one's requests the classifier decides, and how
//! long it waits, without the flood and with it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep_until};

use super::client::{Answer, Connection};

const FLOOD_CONNECTIONS: u32 = 64;
/// Requests of the flooding key per second.
const FLOOD_RATE: u32 = 1_000;
const QUIET_PAUSE: Duration = Duration::from_millis(50);

pub struct Plan {
    pub address: SocketAddr,
    pub flooding_key: String,
    pub quiet_key: String,
    /// Of each half: without the flood, and with it.
    pub half: Duration,
}

/// Runs both halves; what the quiet key saw in each, and how much the flooding key sent.
pub async fn run(plan: &Plan) -> Value {
    let alone = quiet(plan, "alone").await;
    let mut flood = JoinSet::new();
    for number in 0..FLOOD_CONNECTIONS {
        flood.spawn(flood_connection(
            plan.address,
            plan.flooding_key.clone(),
            number,
            plan.half,
        ));
    }
    let beside = quiet(plan, "beside").await;
    let (mut sent, mut decided) = (0, 0);
    while let Some(counts) = flood.join_next().await {
        let counts = counts.unwrap();
        sent += counts.0;
        decided += counts.1;
    }
    json!({
        "quiet_alone": alone, "quiet_beside_the_flood": beside,
        "flood": {"answered_per_second": f64::from(sent) / plan.half.as_secs_f64(), "decided": decided},
    })
}

/// Sends one request after the other; what became of them.
async fn quiet(plan: &Plan, phase: &str) -> Value {
    let mut connection = Connection::to(plan.address);
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut next = began;
    for number in 0_u32.. {
        next += QUIET_PAUSE;
        if next.duration_since(began) > plan.half {
            break;
        }
        sleep_until(next.into()).await;
        let prompt = format!(
            "Question {number} of the {phase} half: which of two routes is shorter, and why?"
        );
        match connection
            .send(&request(plan.address, &plan.quiet_key, &prompt))
            .await
        {
            Ok(answer) => answers.push(answer),
            Err(error) => errors.push(error),
        }
    }
    let decided = answers.iter().filter(|answer| is_decided(answer)).count();
    let mut times: Vec<u128> = answers
        .iter()
        .map(|answer| answer.whole.as_micros())
        .collect();
    times.sort_unstable();
    let quantile = |of_100: usize| times.get(times.len().saturating_sub(1) * of_100 / 100);
    json!({
        "n": answers.len(), "decided": decided, "errors": errors.len(), "error": errors.first(),
        "p50_us": quantile(50).map(|time| *time as u64), "p99_us": quantile(99).map(|time| *time as u64),
    })
}

/// Sends fresh long prompts at its part of the rate, or as fast as it is answered; how many were answered and decided.
async fn flood_connection(
    address: SocketAddr,
    key: String,
    number: u32,
    time: Duration,
) -> (u32, u32) {
    let mut connection = Connection::to(address);
    let pause = Duration::from_secs(1) * FLOOD_CONNECTIONS / FLOOD_RATE;
    let began = Instant::now();
    let mut next = began + pause * number / FLOOD_CONNECTIONS;
    let (mut sent, mut decided) = (0, 0);
    while next.duration_since(began) < time {
        sleep_until(next.into()).await;
        next = (next + pause).max(Instant::now());
        let prompt = format!(
            "Case {number} {sent}. {}",
            "Prove it step by step and weigh every stated fact against the others. ".repeat(60)
        );
        if let Ok(answer) = connection.send(&request(address, &key, &prompt)).await {
            sent += 1;
            decided += u32::from(is_decided(&answer));
        }
    }
    (sent, decided)
}

fn is_decided(answer: &Answer) -> bool {
    answer.why.as_deref() == Some("classifier")
}

fn request(address: SocketAddr, key: &str, prompt: &str) -> Vec<u8> {
    let body = json!({"model": "Qwen3-8B", "messages": [{"role": "user", "content": prompt}]});
    let body = body.to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
