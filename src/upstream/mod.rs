//! Forwards a request to a model server and relays the answer.
//!
//! [`Forward`] picks an endpoint of a [`Model`] (`balance`), sends the rendered request and may retry on another endpoint. The
//! [`Catalog`] says which models and endpoints there are, and [`probe()`] finds out which switch a model obeys.
//!
//! Requests go through reqwest (`transport`). The answer's body is streamed: a task of hyper's reads the connection and hands over one
//! chunk when the one before it was taken. Dropping the client's body closes the request to the server. The body of a 4xx is read
//! first, up to 64 KiB, to see whether the server rejects our switch (`forward::switch_rejection`).

mod balance;
mod catalog;
mod client;
mod control;
mod forward;
mod keys;
mod probe;
mod retry_budget;
mod server;
mod transport;

pub use balance::{Endpoint, Health};
pub use catalog::{Catalog, EnvoyModel, Listing, Listings, Model, ServerFacts};
pub use client::Client;
pub use control::{check_health, list_models};
pub use forward::{
    Forward, OwnAddress, RelayBody, content_length, is_gateway_header, list_items, relocate,
};
pub use keys::ServerKeys;
pub use probe::{ProbeError, ProbeFindings, probe};
pub use server::{ModelServer, model_servers};
