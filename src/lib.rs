//! `thinkgate` stands in front of OpenAI-compatible model servers and decides, for every request, whether the model should
//! think. It rewrites the few bytes that switch reasoning on or off and streams the answer back untouched.
//!
//! # The life of a request
//!
//! The folders, in the order in which a request passes through them:
//!
//! 1. **accept**: [`net`] accepts the connection, [`server`] (HTTP) or [`ext_proc`] (Envoy) takes the request from it.
//!    [`pipeline`] does what both doors have in common: request id, key ([`auth`]), limits, refusals under overload.
//! 2. **read**: [`api`] reads the bytes once. Fields it does not know stay byte for byte.
//! 3. **classify**: [`classifier`] tokenises the text, waits for a batch, and runs the model; or it times out.
//! 4. **decide** and **plan**: [`routing`] turns scores into a mode, and the mode into the family's own switch.
//! 5. **forward**: [`upstream`] picks an endpoint with room, renders the body for it, and tries another one if none answered yet.
//! 6. **stream**: [`upstream`] relays the bytes as they come; [`api::SseScanner`] only looks on.
//! 7. **record**: [`telemetry`] writes one log line, one set of metrics and one span, when the body ended or failed, or the
//!    client left.
//!
//! Around it: [`config`] is what the operator wrote. [`app`] builds a [`state::AppState`] from it, and again on a reload.
//! [`discovery`] keeps what is known of the model servers up to date. [`error`] says why a request failed. [`tenant`] says
//! which key or address a request counts for. [`cli`] has the commands.
//!
//! Dependencies point one way: `cli -> app -> {server, ext_proc} -> pipeline -> routing -> classifier`, `server -> upstream`.

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a test that cannot go on should say where it stopped"
    )
)]

pub mod net;

pub mod ext_proc;
pub mod server;

pub mod auth;
pub mod pipeline;

pub mod api;

pub mod classifier;

pub mod routing;

pub mod upstream;

pub mod telemetry;

pub mod app;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod error;
pub mod state;
pub mod tenant;
