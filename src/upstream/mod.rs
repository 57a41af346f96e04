//! [`Routed`](crate::routing::Routed) -> streaming response: which endpoint, which bytes for it, and what comes back.
//!
//! Nothing is buffered on the way back and no task stands between the model server's body and the client's: dropping the
//! client's body closes the request to the server.

mod body;
mod breaker;
mod budget;
mod catalog;
mod client;
mod discover;
mod endpoint;
mod exchange;
mod forward;
mod headers;
mod health;
mod keys;
mod pool;
mod probe;
mod refusal;
mod reply;
mod sending;
mod wire;

pub use body::Relay;
pub use catalog::{Catalog, Known, Listing, Listings, Model, Profile};
pub use client::Client;
pub use discover::{Server, look, servers};
pub use endpoint::Endpoint;
pub use forward::Forward;
pub use headers::is_ours;
pub use health::{Health, check};
pub use keys::ServerKeys;
pub use probe::{Probed, Unknown, probe};
pub use wire::{AnswerReader, Head, Malformed};
