//! The gateway over real sockets: real clients in front, scripted and replayed servers behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on should say where it stopped"
)]

mod support;

mod aliases;
mod classifier;
mod commands;
mod conversation_bytes;
mod conversations;
mod debugging;
mod envoy;
mod errors;
mod families;
mod faults;
mod first_day;
mod health;
mod kept_connections;
mod keys;
mod misplaced_keys;
mod moving_on;
mod one_decision;
mod paths;
mod precedence;
mod probe;
mod properties;
mod protocol;
mod reading;
mod reload;
mod replay;
mod sent_paths;
mod shares;
mod shutdown;
mod slow_bodies;
mod spelling;
mod streams;
mod switch_rejections;
mod telemetry;
mod tls;
mod turn_scan;
mod upstream_keys;
