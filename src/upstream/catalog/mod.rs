//! The models and aliases that clients can name. Configured ones are always there, discovered ones while their servers list them.

mod build;
mod facts;
mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use self::{
    build::{CatalogBuilder, Models},
    model::own_entry,
};
pub use self::{
    facts::{Listing, Listings, ServerFacts},
    model::{EnvoyModel, Model},
};
use super::{
    balance::{Endpoint, Health},
    keys::ServerKeys,
    server::model_servers,
};
use crate::{
    config::{self, BaseUrl, Config},
    error::Error,
    routing::{Family, Mode, Target},
};

/// All models and aliases at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    models: Models,
    /// What the servers have reported.
    facts: ServerFacts,
    /// The health of every server in the configuration.
    health: BTreeMap<BaseUrl, Arc<Health>>,
    /// The servers' API keys, read with the configuration.
    keys: Arc<ServerKeys>,
    aliases: BTreeMap<String, config::Alias>,
    /// The servers of `discover` that have not answered yet. While there are any, no name is rejected as unknown.
    pub pending: Vec<BaseUrl>,
    /// True if any model name is accepted: Envoy owns the servers, and the configuration names no models.
    accepts_any_name: bool,
}

impl Catalog {
    /// A catalog without a predecessor.
    pub fn build(config: &Config, keys: Arc<ServerKeys>, facts: ServerFacts) -> Self {
        Self::default().build_with(config, keys, facts)
    }

    /// The catalog after a reload of the configuration, with its keys and the same facts.
    pub fn with_config(&self, config: &Config, keys: Arc<ServerKeys>) -> Self {
        self.build_with(config, keys, self.facts.clone())
    }

    /// The catalog after the servers reported something new. Endpoints that are still there keep their requests in flight, their
    /// breakers and their switch rejections; servers keep their health.
    pub fn rebuild(&self, config: &Config, facts: ServerFacts) -> Self {
        self.build_with(config, self.keys.clone(), facts)
    }

    fn build_with(&self, config: &Config, keys: Arc<ServerKeys>, mut facts: ServerFacts) -> Self {
        let health = self.health_for(config);
        facts.listings.retain(|url, _| health.contains_key(url));
        facts.probes.retain(|(url, _), _| health.contains_key(url));
        let builder = CatalogBuilder {
            config,
            facts: &facts,
            health: &health,
            keys: &keys,
            before: &self.models,
        };
        let models = builder.models();
        let servers = config.discover.iter().map(|server| &server.url);
        let pending = servers
            .filter(|url| !facts.listings.contains_key(*url))
            .cloned()
            .collect();
        Self {
            models,
            facts,
            health,
            keys,
            aliases: config.aliases.clone(),
            pending,
            accepts_any_name: config.ext_proc.is_some()
                && config.models.is_empty()
                && config.aliases.is_empty()
                && config.discover.is_empty(),
        }
    }

    /// The health of every server in `config`. Without health checks all are healthy, because no check would ever correct a verdict.
    fn health_for(&self, config: &Config) -> BTreeMap<BaseUrl, Arc<Health>> {
        let is_checked = config.upstream.health_interval().is_some();
        model_servers(config)
            .into_iter()
            .map(|server| {
                let before = self.health.get(&server.url).filter(|_| is_checked).cloned();
                (server.url, before.unwrap_or_default())
            })
            .collect()
    }

    /// The model that a request is for: the one it names, or the only one there is.
    ///
    /// # Errors
    /// A 404 for an unknown name and a 400 for no name where there is a choice; a 503 for both while a server has not been listed yet.
    pub fn resolve(&self, name: Option<&str>) -> Result<Target, Error> {
        let name = match name {
            Some(name) => name,
            None => match (
                self.models.len() + self.aliases.len(),
                self.models.keys().next(),
            ) {
                (1, Some(only)) => only,
                _ if self.accepts_any_name => "", // the server chooses its own
                _ if !self.pending.is_empty() => {
                    return Err(Error::NoEndpoint("this request".into()));
                }
                _ => {
                    return Err(Error::invalid_field(
                        "model",
                        format!("`model` is missing; choose one of {}.", self.names()),
                    ));
                }
            },
        };
        if let Some(alias) = self.aliases.get(name) {
            let mode = |mode, target: &str| Ok((mode, self.target(target)?));
            return Ok(Target::Alias(BTreeMap::from([
                mode(Mode::Reasoning, &alias.reasoning)?,
                mode(Mode::Direct, &alias.direct)?,
                mode(Mode::Unchanged, &alias.unchanged)?,
            ])));
        }
        self.target(name)
    }

    fn target(&self, name: &str) -> Result<Target, Error> {
        match self.models.get(name) {
            Some(model) => Ok(Target::Model {
                name: model.name.clone(),
                family: model.family,
                gate: model.gate,
            }),
            None if self.accepts_any_name => Ok(Target::Model {
                name: name.into(),
                family: Family::recognise(name, None, None),
                gate: true,
            }),
            None if !self.pending.is_empty() => Err(Error::NoEndpoint(format!("model `{name}`"))),
            None => Err(Error::ModelNotFound {
                model: name.into(),
                known: self.names(),
            }),
        }
    }

    /// The model with this name.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// What the servers have reported.
    pub fn facts(&self) -> &ServerFacts {
        &self.facts
    }

    /// The health of a server; `None` if the configuration does not name it.
    pub fn health(&self, url: &BaseUrl) -> Option<&Arc<Health>> {
        self.health.get(url)
    }

    /// Every model at one server, with its endpoint there.
    pub fn models_at(&self, url: &BaseUrl) -> impl Iterator<Item = (&Arc<Model>, &Arc<Endpoint>)> {
        self.models.values().flat_map(move |model| {
            let here = model
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.url == *url);
            here.map(move |endpoint| (model, endpoint))
        })
    }

    /// Every model, ordered by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The answer to `GET /v1/models`.
    pub fn list(&self) -> Value {
        let aliases = self.aliases.keys().map(|name| own_entry(name));
        let data: Vec<Value> = self
            .models
            .values()
            .map(|model| model.entry.clone())
            .chain(aliases)
            .collect();
        json!({"object": "list", "data": data})
    }

    /// The answer to `GET /v1/models/{id}`.
    pub fn entry(&self, name: &str) -> Option<Value> {
        let alias = || self.aliases.contains_key(name).then(|| own_entry(name));
        self.models
            .get(name)
            .map(|model| model.entry.clone())
            .or_else(alias)
            .or_else(|| self.accepts_any_name.then(|| own_entry(name)))
    }

    fn names(&self) -> String {
        let names: BTreeSet<&str> = self
            .models
            .keys()
            .map(|name| &**name)
            .chain(self.aliases.keys().map(String::as_str))
            .collect();
        match names.is_empty() {
            true => "(none)".into(),
            false => names.into_iter().collect::<Vec<_>>().join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::balance::trip;

    fn listings(entries: Value) -> ServerFacts {
        let url = BaseUrl::parse("http://a").unwrap();
        let listing = serde_json::from_value(json!({"data": entries})).unwrap();
        ServerFacts {
            listings: Listings::from([(url, listing)]),
            ..ServerFacts::default()
        }
    }

    #[test]
    fn a_configured_model_is_recognised_by_its_servers_listing() {
        let config = Config::from_yaml(
            "{models: {chat: {endpoints: [{url: 'http://a', model: served}]}, own: {family: gpt_oss, endpoints: [{url: 'http://b'}]}}}",
        )
        .unwrap();
        let catalog = Catalog::build(
            &config,
            Arc::default(),
            listings(json!([{"id": "served", "root": "/m/Qwen3-4B", "max_model_len": 7}])),
        );
        assert_eq!(catalog.model("chat").unwrap().family.unwrap().id, "qwen3");
        assert_eq!(catalog.model("own").unwrap().family.unwrap().id, "gpt_oss");
        assert_eq!(catalog.entry("chat").unwrap()["max_model_len"], 7);
        assert_eq!(catalog.list()["data"][0]["id"], "chat");
        assert!(catalog.pending.is_empty());
    }

    #[test]
    fn before_the_first_listing_no_name_is_unknown() {
        let config = Config::from_yaml("{discover: [{url: 'http://a'}]}").unwrap();
        let empty = Catalog::build(&config, Arc::default(), ServerFacts::default());
        assert!(matches!(
            empty.resolve(Some("m")),
            Err(Error::NoEndpoint(_))
        ));
        assert!(matches!(empty.resolve(None), Err(Error::NoEndpoint(_))));
        let one = Catalog::build(
            &config,
            Arc::default(),
            listings(json!([{"id": "Qwen3-8B"}])),
        );
        assert!(matches!(
            one.resolve(Some("m")),
            Err(Error::ModelNotFound { .. })
        ));
        assert!(matches!(
            one.resolve(None),
            Ok(Target::Model {
                gate: true,
                family: Some(_),
                ..
            })
        ));
        let two = Catalog::build(
            &config,
            Arc::default(),
            listings(json!([{"id": "x"}, {"id": "y"}])),
        );
        assert!(two.resolve(None).unwrap_err().to_string().contains("x, y"));
    }

    #[test]
    fn behind_envoy_without_models_every_name_is_accepted() {
        let config = Config::from_yaml("{ext_proc: {listen: '127.0.0.1:1'}}").unwrap();
        let catalog = Catalog::build(&config, Arc::default(), ServerFacts::default());
        let family = |name| match catalog.resolve(name) {
            Ok(Target::Model { family, .. }) => family.map(|family| family.id),
            other => panic!("{other:?}"),
        };
        assert_eq!(family(Some("Qwen/Qwen3-8B")), Some("qwen3"));
        assert_eq!(family(Some("mystery")), None);
        assert_eq!(family(None), None);
        let config =
            Config::from_yaml("{ext_proc: {listen: '127.0.0.1:1'}, models: {Qwen3-8B: {}}}")
                .unwrap();
        let catalog = Catalog::build(&config, Arc::default(), ServerFacts::default());
        assert!(catalog.resolve(Some("mystery")).is_err());
        let model = catalog.model("Qwen3-8B").map(AsRef::as_ref);
        assert_eq!(
            EnvoyModel::of(model, "Qwen3-8B").family.unwrap().id,
            "qwen3"
        );
    }

    #[test]
    fn listings_are_equal_whatever_their_times_and_permission_ids() {
        let listing = |created: u64, root: &str| -> Listing {
            let permission = json!([{"id": format!("modelperm-{created}"), "created": created}]);
            let entry =
                json!({"id": "m", "root": root, "created": created, "permission": permission});
            serde_json::from_value(json!({"data": [entry]})).unwrap()
        };
        assert_eq!(listing(1, "Qwen3-8B"), listing(2, "Qwen3-8B"));
        assert_ne!(listing(1, "Qwen3-8B"), listing(1, "Qwen3-4B"));
    }

    #[test]
    fn a_rebuilt_endpoint_keeps_its_state() {
        let config = Config::from_yaml("{models: {m: {endpoints: [{url: 'http://a'}]}}}").unwrap();
        let first = Catalog::build(&config, Arc::default(), ServerFacts::default());
        let endpoint = |catalog: &Catalog| catalog.model("m").unwrap().endpoints[0].clone();
        trip(&endpoint(&first));
        let next = first.rebuild(&config, listings(json!([{"id": "m"}])));
        assert!(!endpoint(&next).is_ready(std::time::Instant::now()));
        assert!(
            endpoint(&Catalog::build(
                &config,
                Arc::default(),
                ServerFacts::default()
            ))
            .is_ready(std::time::Instant::now())
        );
    }

    #[test]
    fn servers_that_list_one_name_share_a_model() {
        let config =
            Config::from_yaml("{discover: [{url: 'http://a'}, {url: 'http://b'}]}").unwrap();
        let mut listings = listings(json!([{"id": "m", "root": "Qwen3-8B"}]));
        listings.listings.insert(
            BaseUrl::parse("http://b").unwrap(),
            Listing {
                data: vec![json!({"id": "m"})],
            },
        );
        let catalog = Catalog::build(&config, Arc::default(), listings);
        assert_eq!(catalog.model("m").unwrap().endpoints.len(), 2);
    }
}
