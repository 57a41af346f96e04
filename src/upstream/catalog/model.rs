//! One model: its endpoints, its switch, and its entry in `/v1/models`.

use std::sync::Arc;

use http::HeaderValue;
use serde_json::{Value, json};

use crate::{routing::Family, upstream::balance::Endpoint};

/// One model under the name that clients use.
#[derive(Debug)]
pub struct Model {
    /// The name that clients use.
    pub name: Arc<str>,
    /// The family that decisions are made for, before an endpoint is picked.
    pub family: Option<&'static Family>,
    /// False if its requests are never judged (`models.X.gate`).
    pub gate: bool,
    /// The servers that have it; empty where Envoy owns them.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The `Authorization` value for requests that Envoy sends to its own servers.
    pub(super) key: Option<HeaderValue>,
    /// The model's entry in `/v1/models`.
    pub(super) entry: Value,
}

/// How to prepare a request for a model when Envoy chooses the server.
#[derive(Debug, Default)]
pub struct EnvoyModel {
    /// The family whose switch is used.
    pub family: Option<&'static Family>,
    /// The model's name at the server; `None` if it is the same as at the gateway.
    pub name: Option<String>,
    /// The `Authorization` value for the server, if it needs a key.
    pub authorization: Option<HeaderValue>,
}

impl EnvoyModel {
    /// Of a model of the catalog, by its first endpoint if it has several. Without a model, the name tells the family.
    pub fn of(model: Option<&Model>, name: &str) -> Self {
        match model {
            Some(model) => Self {
                family: model.family,
                name: model
                    .endpoints
                    .first()
                    .and_then(|endpoint| endpoint.model.clone()),
                authorization: model.key.clone(),
            },
            None => Self {
                family: Family::recognise(name, None, None),
                ..Self::default()
            },
        }
    }
}

/// The `/v1/models` entry of a name that no server lists.
pub fn own_entry(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "thinkgate"})
}
