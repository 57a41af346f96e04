//! Looks at what servers list under `/v1/models`.

use std::collections::BTreeMap;

use http::Method;
use reqwest::Response;

use super::{Client, Listing, client::innermost};
use crate::config::{BaseUrl, Config, Secret};

/// The longest list that is read, in bytes: some ten thousand models.
const LONGEST: usize = 8 << 20;

/// A server to look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Its address.
    pub url: BaseUrl,
    /// Its key.
    pub api_key: Option<Secret>,
}

/// Every server named in the configuration, once.
pub fn servers(config: &Config) -> Vec<Server> {
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
        servers.entry(url.clone()).or_insert_with(|| Server {
            url: url.clone(),
            api_key: api_key.clone(),
        });
    }
    servers.into_values().collect()
}

/// The body of an answer to a question of our own, which is held in memory whole; `None` when it is longer than `limit` bytes.
///
/// # Errors
/// Why it did not come.
pub(super) async fn whole(
    mut response: Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// What the server lists now.
///
/// # Errors
/// Why it cannot be said, in words for the log.
pub async fn look(client: &Client, server: &Server) -> Result<Listing, String> {
    let request = client.ask(Method::GET, server, "/v1/models");
    let response = request.send().await.map_err(|error| innermost(&error))?;
    match response.status() {
        status if status.is_success() => {}
        status if status.as_u16() == 401 => {
            return Err("answered 401: it wants a key (--upstream-key env:NAME, or api_key in the configuration)".into());
        }
        status => return Err(format!("answered {status}")),
    }
    let body = whole(response, LONGEST).await;
    let body = body
        .map_err(|error| innermost(&error))?
        .ok_or_else(|| format!("its list of models is longer than {LONGEST} bytes"))?;
    serde_json::from_slice(&body)
        .map_err(|error| format!("its list of models is not OpenAI's: {error}"))
}
