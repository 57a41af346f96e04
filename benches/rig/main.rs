//! What `scripts/compare` measures with: a canned model server, a client that asks as fast as it is answered, and an external
//! processor for Envoy that does nothing.
//!
//! ```text
//! rig upstream ADDR                                   serves until it is killed
//! rig load ADDR BODY-FILE CONNECTIONS SECONDS         one JSON line: rate, latencies, first bytes, errors
//! rig noop ADDR                                       serves until it is killed
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a rig that cannot go on should say where it stopped"
)]

mod load;
mod noop;
mod upstream;

use std::net::SocketAddr;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let address =
        |text: &str| -> SocketAddr { text.parse().expect("an address such as 127.0.0.1:9000") };
    let one_thread = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    match args.as_slice() {
        ["upstream", at] => one_thread().block_on(upstream::serve(address(at))),
        ["load", at, body, connections, seconds] => {
            let plan = load::Plan {
                address: address(at),
                body: std::fs::read(body).unwrap(),
                connections: connections.parse().unwrap(),
                seconds: seconds.parse().unwrap(),
            };
            println!("{}", one_thread().block_on(load::run(plan)));
        }
        // As many threads as the processor it stands in for.
        ["noop", at] => tokio::runtime::Runtime::new()
            .unwrap()
            .block_on(noop::serve(address(at))),
        _ => {
            eprintln!(
                "usage: rig upstream ADDR | load ADDR BODY-FILE CONNECTIONS SECONDS | noop ADDR"
            );
            std::process::exit(2);
        }
    }
}
