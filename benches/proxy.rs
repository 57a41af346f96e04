//! What the gateway adds to a request, over real sockets: the built program in front of the rig's canned model server, one
//! request at a time.
//!
//! ```text
//! cargo bench --bench proxy [-- plain|stream]
//! taskset -c 0 cargo bench --bench proxy
//! ```
//!
//! On several processors a burst of events takes one time or twice that, by where the system puts the three programs; on one
//! processor it is the same every time, so that is where to look for a change. In each group `direct` is the same request without the gateway. What it costs with many connections, and in processor time,
//! is for scripts/compare.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that cannot go on should say where it stopped"
)]

#[path = "rig/client.rs"]
mod client;
#[path = "rig/upstream.rs"]
mod upstream;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use client::{Answer, Connection, chat};
use criterion::{BenchmarkGroup, Criterion, criterion_group, measurement::WallTime};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

criterion::criterion_main!(benches);
criterion_group!(benches, plain, stream);

const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// The gateway and the server behind it, until they are dropped.
struct Setup {
    runtime: Runtime,
    direct: SocketAddr,
    gateway: SocketAddr,
    process: Child,
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Setup {
    fn start() -> Self {
        let (direct, gateway) = (start_model_server(), free_address());
        let process = Command::new(env!("CARGO_BIN_EXE_thinkgate"))
            .args(["serve", "--upstream", &format!("http://{direct}")])
            .args(["--listen", &gateway.to_string()])
            .env("THINKGATE_CLASSIFIER__DEADLINE_MS", "10000") // nothing measured here is a fallback
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let setup = Self {
            runtime: one_thread(),
            direct,
            gateway,
            process,
        };
        setup.wait_until_ready();
        setup
    }

    fn wait_until_ready(&self) {
        let ask = b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n";
        for _ in 0..3_000 {
            let mut connection = Connection::to(self.gateway);
            if self.runtime.block_on(connection.send(ask)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway does not become ready");
    }

    /// One more way to answer a request, which has to say that it was decided for this reason.
    fn bench(
        &self,
        group: &mut BenchmarkGroup<WallTime>,
        name: &str,
        (at, why): (SocketAddr, Option<&str>),
        mut body: impl FnMut() -> Value,
    ) {
        let mut connection = Connection::to(at);
        let is_stream = body()["stream"] == true;
        let mut ask = || -> Answer {
            let request = chat(at, body().to_string().as_bytes());
            let answer = self.runtime.block_on(connection.send(&request)).unwrap();
            assert_eq!(answer.why.as_deref(), why);
            answer
        };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| ask().whole).sum());
        });
        if is_stream {
            group.bench_function(format!("{name}, first event"), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| ask().first).sum());
            });
        }
    }

    /// The four ways a request can go.
    fn bench_all(&self, mut group: BenchmarkGroup<WallTime>, request: Value) {
        let chosen = with(&request, "reasoning_effort", "low");
        let decided = (self.gateway, Some("classifier"));
        self.bench(&mut group, "direct", (self.direct, None), || chosen.clone());
        let left_alone = (self.gateway, Some("client"));
        self.bench(&mut group, "no decision", left_alone, || chosen.clone());
        self.bench(&mut group, "decision from the cache", decided, || {
            request.clone()
        });
        let mut number = 0;
        self.bench(&mut group, "new decision", decided, || {
            number += 1;
            let text = format!("Ticket {number}: {PROMPT}");
            with(
                &request,
                "messages",
                json!([{"role": "user", "content": text}]),
            )
        });
        group.finish();
    }
}

/// About 50 tokens.
const PROMPT: &str = "Our customers ask how they reach the museum from the central station on a Sunday, and what a family \
    of four pays for a visit in the afternoon. Write two friendly sentences that answer both, and name the number of the bus.";

fn plain(criterion: &mut Criterion) {
    let request = json!({"model": "Qwen3-8B", "messages": [{"role": "user", "content": PROMPT}]});
    Setup::start().bench_all(criterion.benchmark_group("plain"), request);
}

fn stream(criterion: &mut Criterion) {
    let request = json!({"model": "Qwen3-8B", "stream": true, "messages": [{"role": "user", "content": PROMPT}]});
    Setup::start().bench_all(criterion.benchmark_group("stream of 52 events"), request);
}

fn with(request: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut request = request.clone();
    request[field] = value.into();
    request
}

/// Free a moment ago.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind(ANYWHERE).unwrap();
    listener.local_addr().unwrap()
}

/// The canned model server on a thread of its own, which lasts as long as this program.
fn start_model_server() -> SocketAddr {
    let (runtime, bound) = (one_thread(), std::net::TcpListener::bind(ANYWHERE).unwrap());
    bound.set_nonblocking(true).unwrap();
    let address = bound.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async { upstream::serve(TcpListener::from_std(bound).unwrap()).await });
    });
    address
}

fn one_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}
