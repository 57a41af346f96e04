//! Models out of what is configured and what servers list.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::{Catalog, Known, Listings, Model, entry_of_ours};
use crate::{
    config::{self, BaseUrl, Config},
    routing::Family,
    upstream::{
        Health, Probed, ServerKeys,
        breaker::Patience,
        endpoint::{Endpoint, Site},
    },
};

/// What a catalog is built from.
pub struct Build<'a> {
    /// What the operator wrote.
    pub config: &'a Config,
    /// What servers say of themselves now.
    pub known: &'a Known,
    /// How they are.
    pub health: &'a BTreeMap<BaseUrl, Arc<Health>>,
    /// Their keys.
    pub keys: &'a ServerKeys,
    /// The catalog so far, whose endpoints may be there still.
    pub before: &'a Catalog,
}

impl Build<'_> {
    /// Every model: what is configured wins over what was discovered under the same name.
    pub fn models(&self) -> BTreeMap<Arc<str>, Arc<Model>> {
        let mut models: BTreeMap<Arc<str>, Model> = BTreeMap::new();
        for server in &self.config.discover {
            let listed = self
                .known
                .listings
                .get(&server.url)
                .map_or(&[][..], |listing| &listing.data);
            for (id, entry) in listed
                .iter()
                .filter_map(|entry| Some((entry["id"].as_str()?, entry)))
            {
                let endpoint = self.discovered(server, id, entry);
                let model = models.entry(id.into()).or_insert_with_key(|name| Model {
                    name: name.clone(),
                    family: None, // known when all its endpoints are
                    gate: true,
                    endpoints: Vec::new(),
                    key: None,
                    entry: entry.clone(),
                });
                model.endpoints.push(endpoint);
            }
        }
        for model in models.values_mut() {
            model.family = family_among(&model.endpoints);
        }
        for (name, settings) in &self.config.models {
            let model = self.configured(name, settings);
            models.insert(model.name.clone(), model);
        }
        models
            .into_iter()
            .map(|(name, model)| (name, Arc::new(model)))
            .collect()
    }

    /// A model as its server lists it, at that server.
    fn discovered(&self, server: &config::Discover, id: &str, entry: &Value) -> Arc<Endpoint> {
        let family = Family::recognise(id, entry["root"].as_str(), entry["parent"].as_str());
        self.endpoint(
            id,
            Site {
                url: server.url.clone(),
                key: self.keys.of(server.api_key.as_ref()),
                weight: 1,
                model: None,
                by_name: family,
                probed: self.probed(&server.url, id),
                is_set: false,
                health: self.health_of(&server.url),
            },
        )
    }

    /// A model as it is configured, with what its servers say of it.
    fn configured(&self, name: &str, settings: &config::Model) -> Model {
        let endpoints: Vec<Arc<Endpoint>> = settings
            .endpoints
            .iter()
            .map(|endpoint| self.configured_at(name, settings, endpoint))
            .collect();
        let family = match endpoints.as_slice() {
            [] => family_of(name, settings, None),
            some => family_among(some),
        };
        let listed = settings
            .endpoints
            .iter()
            .find_map(|endpoint| listed(name, endpoint, &self.known.listings));
        let mut entry = listed.cloned().unwrap_or_else(|| entry_of_ours(name));
        entry["id"] = name.into();
        Model {
            name: name.into(),
            family,
            gate: settings.gate,
            endpoints,
            key: self.keys.of(settings.api_key.as_ref()),
            entry,
        }
    }

    fn configured_at(
        &self,
        name: &str,
        settings: &config::Model,
        endpoint: &config::Endpoint,
    ) -> Arc<Endpoint> {
        let there = endpoint.model.as_deref().unwrap_or(name);
        let entry = listed(name, endpoint, &self.known.listings);
        let family = match family_of(there, settings, entry) {
            None if settings.family == "auto" => Family::recognise(name, None, None),
            family => family,
        };
        self.endpoint(
            name,
            Site {
                url: endpoint.url.clone(),
                key: self
                    .keys
                    .of(endpoint.api_key.as_ref().or(settings.api_key.as_ref())),
                weight: endpoint.weight,
                model: endpoint.model.clone(),
                by_name: family,
                probed: self.probed(&endpoint.url, there),
                is_set: settings.family != "auto",
                health: self.health_of(&endpoint.url),
            },
        )
    }

    /// An endpoint, in the condition that it was in before.
    fn endpoint(&self, name: &str, site: Site) -> Arc<Endpoint> {
        let settings = &self.config.upstream;
        let patience = Patience {
            failures: settings.failures,
            open: Duration::from_millis(settings.open_ms),
        };
        let before = self.before.model(name).and_then(|model| {
            let mut there = model.endpoints.iter();
            there.find(|endpoint| endpoint.is_at(&site.url, site.model.as_deref()))
        });
        let endpoint = Endpoint::new(name, site, patience);
        Arc::new(endpoint.taking_over(before.map(Arc::as_ref)))
    }

    fn probed(&self, url: &BaseUrl, there: &str) -> Option<Probed> {
        let of = (url.clone(), there.to_owned());
        self.known.probes.get(&of).copied()
    }

    fn health_of(&self, url: &BaseUrl) -> Arc<Health> {
        self.health.get(url).cloned().unwrap_or_default()
    }
}

/// How a model switches, as far as it is decided for without an endpoint: like the first that can.
fn family_among(endpoints: &[Arc<Endpoint>]) -> Option<&'static Family> {
    let families = || endpoints.iter().filter_map(|endpoint| endpoint.family);
    families()
        .find(|family| family.can_switch())
        .or_else(|| families().next())
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

/// The entry of a configured model in its server's list.
fn listed<'l>(
    name: &str,
    endpoint: &config::Endpoint,
    listings: &'l Listings,
) -> Option<&'l Value> {
    let there = endpoint.model.as_deref().unwrap_or(name);
    listings.get(&endpoint.url)?.entry(there)
}
