//! Load from this machine to itself: a closed loop, in which every connection sends its next request when it has an answer, and
//! streams that are held open.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use super::client::{Answer, Connection, chat};

/// The longest an answer may take, and the most errors before a connection gives up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ERRORS: usize = 20;

pub struct Plan {
    pub address: SocketAddr,
    /// One request a line.
    pub bodies: Vec<u8>,
    /// Ends behind the last line; otherwise the first follows it.
    pub once: bool,
    pub connections: usize,
    pub seconds: f64,
}

/// The requests, in turn for the connections.
struct RequestSource {
    requests: Vec<Vec<u8>>,
    once: bool,
    taken: AtomicUsize,
}

impl RequestSource {
    fn of(plan: &Plan) -> Self {
        let lines = plan.bodies.split(|byte| *byte == b'\n');
        let requests: Vec<_> = lines
            .filter(|line| !line.is_empty())
            .map(|line| chat(plan.address, line))
            .collect();
        assert!(!requests.is_empty(), "there are no requests");
        Self {
            requests,
            once: plan.once,
            taken: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> Option<&[u8]> {
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        let count = self.requests.len();
        (!self.once || index < count).then(|| self.requests[index % count].as_slice())
    }
}

/// Sends requests until the time is over or, with `once`, until each was sent.
pub async fn run(plan: Plan) -> Value {
    let source = Arc::new(RequestSource::of(&plan));
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(plan.seconds);
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(connection(plan.address, source.clone(), end));
    }
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    while let Some(ended) = connections.join_next().await {
        let (seen, failed) = ended.unwrap();
        answers.extend(seen);
        errors.extend(failed);
    }
    let elapsed = began.elapsed().as_secs_f64();
    let quantile = |of: fn(&Answer) -> Duration, q: f64| -> Value {
        let mut values: Vec<Duration> = answers.iter().map(of).collect();
        values.sort_unstable();
        let index = (values.len().saturating_sub(1) as f64 * q).round() as usize;
        let value = values.get(index);
        value.map(|time| time.as_micros() as u64).into()
    };
    json!({
        "n": answers.len(), "seconds": elapsed, "rate": answers.len() as f64 / elapsed,
        "errors": errors.len(), "error": errors.first(), "why": reasons(&answers),
        "p50": quantile(|a| a.whole, 0.5), "p99": quantile(|a| a.whole, 0.99),
        "first_p50": quantile(|a| a.first, 0.5), "first_p99": quantile(|a| a.first, 0.99),
    })
}

/// How often each `x-thinkgate-why` was given.
fn reasons(answers: &[Answer]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for why in answers.iter().filter_map(|answer| answer.why.as_deref()) {
        *counts.entry(why).or_default() += 1;
    }
    counts
}

async fn connection(
    address: SocketAddr,
    source: Arc<RequestSource>,
    end: Instant,
) -> (Vec<Answer>, Vec<String>) {
    let (mut answers, mut errors) = (Vec::new(), Vec::new());
    let mut connection = Connection::to(address);
    while Instant::now() < end && errors.len() < MAX_ERRORS {
        let Some(request) = source.next() else { break };
        match timeout(ANSWER_TIMEOUT, connection.send(request)).await {
            Ok(Ok(answer)) => answers.push(answer),
            Ok(Err(error)) => errors.push(error),
            Err(_) => errors.push("no answer in time".into()),
        }
    }
    (answers, errors)
}

/// Opens a stream on every connection, says how many gave a first event, and holds them until the time is over.
pub async fn hold(plan: Plan) {
    let source = RequestSource::of(&plan);
    let (mut held, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..plan.connections {
        let mut connection = Connection::to(plan.address);
        let request = source.next().expect("a circle has no end");
        match timeout(ANSWER_TIMEOUT, connection.start(request)).await {
            Ok(Ok(begun)) => held.push(begun),
            Ok(Err(error)) => errors.push(error),
            Err(_) => errors.push("no answer in time".into()),
        }
    }
    println!(
        "{}",
        json!({"held": held.len(), "errors": errors.len(), "error": errors.first()})
    );
    tokio::time::sleep(Duration::from_secs_f64(plan.seconds)).await;
}
