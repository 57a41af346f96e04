//! The model servers that the configuration names.

use std::collections::BTreeMap;

use crate::config::{BaseUrl, Config, Secret};

/// A model server: its address and its key.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelServer {
    /// The address that paths are appended to.
    pub url: BaseUrl,
    /// Where its API key is, if it needs one.
    pub api_key: Option<Secret>,
}

/// Every model server in the configuration, each address once. If one address has several keys, the first one counts: those of
/// `discover` come before those of `models`.
pub fn model_servers(config: &Config) -> Vec<ModelServer> {
    let discovered = config
        .discover
        .iter()
        .map(|server| (&server.url, &server.api_key));
    let configured = config.models.values().flat_map(|model| {
        model
            .endpoints
            .iter()
            .map(|endpoint| match endpoint.api_key {
                Some(_) => (&endpoint.url, &endpoint.api_key),
                None => (&endpoint.url, &model.api_key),
            })
    });
    let mut servers = BTreeMap::new();
    for (url, api_key) in discovered.chain(configured) {
        servers.entry(url.clone()).or_insert_with(|| ModelServer {
            url: url.clone(),
            api_key: api_key.clone(),
        });
    }
    servers.into_values().collect()
}
