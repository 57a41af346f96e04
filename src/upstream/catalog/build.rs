//! Models out of what is configured and what servers list.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Listings, Model, entry_of_ours};
use crate::{
    config::{self, Config, Revealed, Secret},
    routing::Family,
    upstream::endpoint::{Endpoint, bearer},
};

/// Every model: what is configured wins over what was discovered under the same name.
pub fn models(config: &Config, listings: &Listings) -> BTreeMap<Arc<str>, Arc<Model>> {
    let mut models: BTreeMap<Arc<str>, Model> = BTreeMap::new();
    for server in &config.discover {
        let listed = listings
            .get(&server.url)
            .map_or(&[][..], |listing| &listing.data);
        for (id, entry) in listed
            .iter()
            .filter_map(|entry| Some((entry["id"].as_str()?, entry)))
        {
            let endpoint = discovered(server, id, entry);
            let model = models.entry(id.into()).or_insert_with_key(|name| Model {
                name: name.clone(),
                family: endpoint.family,
                gate: true,
                endpoints: Vec::new(),
                key: None,
                entry: entry.clone(),
            });
            model.endpoints.push(endpoint);
        }
    }
    for (name, settings) in &config.models {
        let model = configured(name, settings, listings);
        models.insert(model.name.clone(), model);
    }
    models
        .into_iter()
        .map(|(name, model)| (name, Arc::new(model)))
        .collect()
}

/// A model as its server lists it, at that server.
fn discovered(server: &config::Discover, id: &str, entry: &Value) -> Arc<Endpoint> {
    let key = revealed(server.api_key.as_ref());
    let family = Family::recognise(id, entry["root"].as_str(), entry["parent"].as_str());
    Arc::new(Endpoint::new(
        server.url.clone(),
        key.as_ref(),
        1,
        None,
        family,
    ))
}

/// A model as it is configured, with what its servers say of it.
fn configured(name: &str, settings: &config::Model, listings: &Listings) -> Model {
    let endpoints: Vec<Arc<Endpoint>> = settings
        .endpoints
        .iter()
        .map(|endpoint| endpoint_of(name, settings, endpoint, listings))
        .collect();
    let family = match endpoints.as_slice() {
        [] => family_of(name, settings, None),
        some => some.iter().find_map(|endpoint| endpoint.family),
    };
    let listed = settings
        .endpoints
        .iter()
        .find_map(|endpoint| listed(name, endpoint, listings));
    let mut entry = listed.cloned().unwrap_or_else(|| entry_of_ours(name));
    entry["id"] = name.into();
    Model {
        name: name.into(),
        family,
        gate: settings.gate,
        endpoints,
        key: revealed(settings.api_key.as_ref())
            .as_ref()
            .and_then(bearer),
        entry,
    }
}

fn endpoint_of(
    name: &str,
    settings: &config::Model,
    endpoint: &config::Endpoint,
    listings: &Listings,
) -> Arc<Endpoint> {
    let key = revealed(endpoint.api_key.as_ref().or(settings.api_key.as_ref()));
    let there = endpoint.model.as_deref().unwrap_or(name);
    let family = match family_of(there, settings, listed(name, endpoint, listings)) {
        None if settings.family == "auto" => Family::recognise(name, None, None),
        family => family,
    };
    Arc::new(Endpoint::new(
        endpoint.url.clone(),
        key.as_ref(),
        endpoint.weight,
        endpoint.model.clone(),
        family,
    ))
}

/// The family that is configured for a model, or the one its names tell. `there`: its name at the server that lists `entry`.
fn family_of(
    there: &str,
    settings: &config::Model,
    entry: Option<&Value>,
) -> Option<&'static Family> {
    let says = |key: &str| entry.and_then(|entry| entry[key].as_str());
    match settings.family.as_str() {
        "auto" => Family::recognise(there, says("root"), says("parent")),
        id => Family::by_id(id, there),
    }
}

/// A key as it is used. It was revealed once already, when the configuration was validated.
fn revealed(key: Option<&Secret>) -> Option<Revealed> {
    key.and_then(|key| key.reveal().ok())
}

/// The entry of a configured model in its server's list.
fn listed<'l>(
    name: &str,
    endpoint: &config::Endpoint,
    listings: &'l Listings,
) -> Option<&'l Value> {
    let there = endpoint.model.as_deref().unwrap_or(name);
    listings
        .get(&endpoint.url)?
        .data
        .iter()
        .find(|entry| entry["id"] == there)
}
