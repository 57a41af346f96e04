//! What breaks, and what the client sees of it: docs/reliability.md has a table of these tests. Each says exactly what reached the
//! client, and that the gateway kept nothing of it: no place taken, no connection held.

mod answers;
mod client;
mod early;
mod machine;
mod pool;
mod upstream;
mod wire;

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Gateway, Process, Server, until};

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

/// Waits until nothing is in flight, and no connection to the server that carried a client's request is open.
async fn wait_until_released(gateway: &Gateway, server: &Server) {
    settled(gateway).await;
    until("no connection to the server", async || server.open() == 0).await;
}

/// The same of a process.
async fn process_released(process: &Process, server: &Server) {
    let is_idle = async || process.metric("thinkgate_in_flight ").await == Some(0.0);
    until("no request in flight", is_idle).await;
    until("no connection to the server", async || server.open() == 0).await;
}

/// Memory of a process that is in use, in MiB.
pub fn resident(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: usize = line
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap();
    kilobytes >> 10
}

/// Files and sockets that a process has open.
fn open_files(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .count()
}

/// Raises the limit on open files, for us and the process we start; how many connections that allows, `wanted` at most.
pub fn room_for(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let allowed = limit.maximum.map_or(usize::MAX, |limit| limit as usize);
    let count = wanted.min(allowed.saturating_sub(1_000));
    if count < wanted {
        println!("{count} connections instead of {wanted}: ulimit -Hn is {allowed}");
    }
    count
}
