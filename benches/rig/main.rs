//! What scripts/compare, growth and decisions measure with: a canned model server, a client that asks as fast as it is
//! answered, and an external processor for Envoy that does nothing.
//!
//! ```text
//! rig upstream ADDR                                    serves until it is killed
//! rig load ADDR BODIES CONNECTIONS SECONDS [once]      one JSON line: rate, latencies, first bytes, errors, reasons
//! rig hold ADDR BODIES CONNECTIONS SECONDS             opens a stream on each, one JSON line: how many, and holds them
//! rig flood ADDR FLOODING_KEY QUIET_KEY SECONDS        one JSON line: what one key sees without and beside another one's flood
//! rig noop ADDR                                        serves until it is killed
//! ```
//!
//! BODIES is a file with a request a line, asked in turn and from the beginning again; with `once`, each once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a rig that cannot go on should say where it stopped"
)]

mod client;
mod flood;
mod load;
mod noop;
mod upstream;

use std::net::SocketAddr;

use tokio::net::TcpListener;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["upstream", at] => one_thread().block_on(async {
            upstream::serve(TcpListener::bind(address(at)).await.unwrap()).await;
        }),
        ["load", plan @ .., "once"] if plan.len() == 4 => load(plan, true),
        ["load", plan @ ..] if plan.len() == 4 => load(plan, false),
        ["hold", plan @ ..] if plan.len() == 4 => {
            one_thread().block_on(load::hold(planned(plan, false)));
        }
        ["flood", at, flooding, quiet, seconds] => {
            let plan = flood::Plan {
                address: address(at),
                flooding_key: flooding.to_string(),
                quiet_key: quiet.to_string(),
                half: std::time::Duration::from_secs_f64(seconds.parse().unwrap()),
            };
            println!("{}", one_thread().block_on(flood::run(&plan)));
        }
        // As many threads as the processor it stands in for.
        ["noop", at] => tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(noop::serve(address(at))),
        _ => {
            eprintln!(
                "usage: rig upstream ADDR | load ADDR BODIES CONNECTIONS SECONDS [once] | hold ADDR BODIES CONNECTIONS SECONDS | flood ADDR FLOODING_KEY QUIET_KEY SECONDS | noop ADDR"
            );
            std::process::exit(2);
        }
    }
}

fn load(plan: &[&str], once: bool) {
    println!("{}", one_thread().block_on(load::run(planned(plan, once))));
}

fn planned(plan: &[&str], once: bool) -> load::Plan {
    load::Plan {
        address: address(plan[0]),
        bodies: std::fs::read(plan[1]).unwrap(),
        once,
        connections: plan[2].parse().unwrap(),
        seconds: plan[3].parse().unwrap(),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address such as 127.0.0.1:9000")
}

fn one_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}
