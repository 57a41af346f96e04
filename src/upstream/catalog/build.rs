//! Builds the models from the configuration and from what the servers report.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{
    facts::{Listings, ServerFacts},
    model::{Model, own_entry},
};
use crate::{
    config::{self, BaseUrl, Config},
    routing::Family,
    upstream::{
        balance::{BreakerConfig, Endpoint, EndpointSpec, Health},
        keys::ServerKeys,
        probe::ProbeFindings,
    },
};

/// The models of a catalog by their names at the gateway.
pub type Models = BTreeMap<Arc<str>, Arc<Model>>;

/// What the models of a catalog are built from.
pub struct CatalogBuilder<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What the servers report.
    pub facts: &'a ServerFacts,
    /// The health of every server.
    pub health: &'a BTreeMap<BaseUrl, Arc<Health>>,
    /// The servers' API keys.
    pub keys: &'a ServerKeys,
    /// The models of the catalog before, whose endpoints keep their state.
    pub before: &'a Models,
}

impl CatalogBuilder<'_> {
    /// All models. A configured model replaces discovered ones of the same name.
    pub fn models(&self) -> Models {
        let mut models = self.discovered();
        for (name, settings) in &self.config.models {
            let model = self.configured(name, settings);
            models.insert(model.name.clone(), model);
        }
        models
            .into_iter()
            .map(|(name, model)| (name, Arc::new(model)))
            .collect()
    }

    /// The models that the servers of `discover` list. Servers that list the same name share one model.
    fn discovered(&self) -> BTreeMap<Arc<str>, Model> {
        let mut models: BTreeMap<Arc<str>, Model> = BTreeMap::new();
        for server in &self.config.discover {
            let listing = self.facts.listings.get(&server.url);
            let entries = listing.map_or(&[][..], |listing| &listing.data);
            for (id, entry) in entries
                .iter()
                .filter_map(|entry| Some((entry["id"].as_str()?, entry)))
            {
                let endpoint = self.discovered_endpoint(server, id, entry);
                let model = models.entry(id.into()).or_insert_with_key(|name| Model {
                    name: name.clone(),
                    family: None, // set below, once all endpoints are there
                    gate: true,
                    endpoints: Vec::new(),
                    key: None,
                    entry: entry.clone(),
                });
                model.endpoints.push(endpoint);
            }
        }
        for model in models.values_mut() {
            model.family = family_of_endpoints(&model.endpoints);
        }
        models
    }

    fn discovered_endpoint(
        &self,
        server: &config::Discover,
        id: &str,
        entry: &Value,
    ) -> Arc<Endpoint> {
        let family = Family::recognise(id, entry["root"].as_str(), entry["parent"].as_str());
        self.endpoint(
            id,
            EndpointSpec {
                url: server.url.clone(),
                key: self.keys.authorization(server.api_key.as_ref()),
                weight: 1,
                model: None,
                expected_family: family,
                probed: self.probed(&server.url, id),
                is_family_configured: false,
                health: self.health_of(&server.url),
            },
        )
    }

    /// A configured model, with what its servers report about it.
    fn configured(&self, name: &str, settings: &config::ModelConfig) -> Model {
        let endpoints: Vec<Arc<Endpoint>> = settings
            .endpoints
            .iter()
            .map(|endpoint| self.configured_endpoint(name, settings, endpoint))
            .collect();
        let family = match endpoints.as_slice() {
            [] => configured_family(name, settings, None),
            some => family_of_endpoints(some),
        };
        let listed = settings
            .endpoints
            .iter()
            .find_map(|endpoint| listed_entry(name, endpoint, &self.facts.listings));
        let mut entry = listed.cloned().unwrap_or_else(|| own_entry(name));
        entry["id"] = name.into();
        Model {
            name: name.into(),
            family,
            gate: settings.gate,
            endpoints,
            key: self.keys.authorization(settings.api_key.as_ref()),
            entry,
        }
    }

    fn configured_endpoint(
        &self,
        name: &str,
        settings: &config::ModelConfig,
        endpoint: &config::EndpointConfig,
    ) -> Arc<Endpoint> {
        let served_name = endpoint.model.as_deref().unwrap_or(name);
        let entry = listed_entry(name, endpoint, &self.facts.listings);
        let family = match configured_family(served_name, settings, entry) {
            None if settings.family == "auto" => Family::recognise(name, None, None),
            family => family,
        };
        let api_key = endpoint.api_key.as_ref().or(settings.api_key.as_ref());
        self.endpoint(
            name,
            EndpointSpec {
                url: endpoint.url.clone(),
                key: self.keys.authorization(api_key),
                weight: endpoint.weight,
                model: endpoint.model.clone(),
                expected_family: family,
                probed: self.probed(&endpoint.url, served_name),
                is_family_configured: settings.family != "auto",
                health: self.health_of(&endpoint.url),
            },
        )
    }

    /// An endpoint with the state of its predecessor, if there was one.
    fn endpoint(&self, name: &str, spec: EndpointSpec) -> Arc<Endpoint> {
        let settings = &self.config.upstream;
        let breaker = BreakerConfig {
            failures: settings.failures,
            open: settings.open_duration(),
        };
        let before = self.before.get(name).and_then(|model| {
            let mut endpoints = model.endpoints.iter();
            endpoints.find(|endpoint| endpoint.matches(&spec.url, spec.model.as_deref()))
        });
        let endpoint = Endpoint::new(name, spec, breaker);
        Arc::new(endpoint.with_state_of(before.map(Arc::as_ref)))
    }

    fn probed(&self, url: &BaseUrl, served_name: &str) -> Option<ProbeFindings> {
        let key = (url.clone(), served_name.to_owned());
        self.facts.probes.get(&key).copied()
    }

    fn health_of(&self, url: &BaseUrl) -> Arc<Health> {
        self.health.get(url).cloned().unwrap_or_default()
    }
}

/// The family that decisions are made for before an endpoint is picked: the first that can switch, otherwise the first.
fn family_of_endpoints(endpoints: &[Arc<Endpoint>]) -> Option<&'static Family> {
    let families = || endpoints.iter().filter_map(|endpoint| endpoint.family);
    families()
        .find(|family| family.can_switch())
        .or_else(|| families().next())
}

/// The configured family of a model, or for `auto` the one its names tell. `entry`: what its server lists under `served_name`.
fn configured_family(
    served_name: &str,
    settings: &config::ModelConfig,
    entry: Option<&Value>,
) -> Option<&'static Family> {
    let field = |key: &str| entry.and_then(|entry| entry[key].as_str());
    match settings.family.as_str() {
        "auto" => Family::recognise(served_name, field("root"), field("parent")),
        id => Family::by_id(id, served_name),
    }
}

/// The entry of a configured model in the listing of an endpoint's server.
fn listed_entry<'l>(
    name: &str,
    endpoint: &config::EndpointConfig,
    listings: &'l Listings,
) -> Option<&'l Value> {
    let served_name = endpoint.model.as_deref().unwrap_or(name);
    listings.get(&endpoint.url)?.entry(served_name)
}
