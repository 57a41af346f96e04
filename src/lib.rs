//! `thinkgate` stands in front of OpenAI-compatible model servers and decides, for every request, whether the model should
//! think. It rewrites the few bytes that switch reasoning on or off and streams the answer back untouched.
//!
//! # The life of a request
//!
//! 1. **accept** ([`server`] or [`ext_proc`], then [`intake`]): request id, trace, key, size limit; refused early when
//!    overloaded. Keys are [`auth`]'s, sockets [`connections`]', threads
//!    [`workers`]'.
//! 2. **read** ([`openai`]): the bytes, once; fields we do not know stay byte for byte.
//! 3. **classify** ([`classifier`]): tokenise, wait for a batch, run; or time out and fall back.
//! 4. **decide** and **plan** ([`routing`]): scores become a mode, and the mode the family's own switch.
//! 5. **forward** ([`upstream`]): an endpoint with room, the edit rendered for it, another one if nothing was answered yet.
//! 6. **stream** ([`upstream::Relay`]): bytes as they come; [`openai::SseScanner`] only looks on.
//! 7. **record** ([`telemetry`]): one log line, one set of metrics, one span, when the body ended, failed, or the client left.
//!
//! [`config`] is what the operator wrote, [`live`] what it became, [`app`] builds one from the other, [`reload`] does so again while
//! requests run, [`watch`] keeps what is known of the servers true, and [`error`] is why a request failed. Dependencies point one way: `cli -> app -> {server, ext_proc} -> intake -> routing -> classifier`,
//! `server -> upstream`; `config`, `openai`, `telemetry` and `error` are leaves.

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test that cannot go on should say where it stopped"
    )
)]

pub mod ext_proc;
pub mod server;

pub mod intake;

pub mod auth;
pub mod connections;

pub mod openai;

pub mod classifier;

pub mod routing;

pub mod upstream;

pub mod telemetry;

pub mod app;
pub mod cli;
pub mod config;
pub mod error;
pub mod live;
pub mod places;
pub mod reload;
pub mod tls;
pub mod watch;
pub mod workers;
