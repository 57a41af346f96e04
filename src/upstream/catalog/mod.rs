//! Which models there are: configured ones and aliases always, discovered ones as their servers list them.

mod build;
mod known;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use http::HeaderValue;
use serde_json::{Value, json};

pub use self::known::{Known, Listing, Listings};
use super::{Endpoint, Health, ServerKeys, servers};
use crate::{
    config::{self, BaseUrl, Config},
    error::Error,
    routing::{Family, Mode, Target},
};

/// One model by the name clients use.
#[derive(Debug)]
pub struct Model {
    /// Its name here.
    pub name: Arc<str>,
    /// How it switches, as far as a request without an endpoint is concerned.
    pub family: Option<&'static Family>,
    /// False: never judged.
    pub gate: bool,
    /// The servers that have it. None where Envoy owns them.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// The `Authorization` of a request that Envoy sends to a server of its own.
    key: Option<HeaderValue>,
    /// Its entry in `/v1/models`.
    entry: Value,
}

/// All models and aliases at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    models: BTreeMap<Arc<str>, Arc<Model>>,
    /// What it was built from, beside the configuration.
    known: Known,
    /// How every server of the configuration is.
    health: BTreeMap<BaseUrl, Arc<Health>>,
    /// The servers' keys, which come with the configuration.
    keys: Arc<ServerKeys>,
    aliases: BTreeMap<String, config::Alias>,
    /// The servers that are to be discovered and have not answered yet. While there are any, no name is unknown.
    pub pending: Vec<BaseUrl>,
    /// True when any name may be asked for: Envoy has the servers, and nothing is configured of their models.
    open: bool,
}

/// A model as it is for a request whose server is not ours to choose.
#[derive(Debug, Default)]
pub struct Profile {
    /// How it switches.
    pub family: Option<&'static Family>,
    /// Its name there, when it is another than here.
    pub name: Option<String>,
    /// The `Authorization` it wants, when it has a key.
    pub authorization: Option<HeaderValue>,
}

impl Profile {
    /// Of a model for a request whose server Envoy chooses. Where several endpoints are configured, the first speaks for all;
    /// of a model that is none of ours the name tells.
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

impl Catalog {
    /// Puts together what is configured and what was discovered.
    pub fn build(config: &Config, keys: Arc<ServerKeys>, known: Known) -> Self {
        Self::default().built(config, keys, known)
    }

    /// The same for a configuration that takes the place of another: with its keys, and what is known of the servers.
    pub fn under(&self, config: &Config, keys: Arc<ServerKeys>) -> Self {
        self.built(config, keys, self.known.clone())
    }

    /// The same after what is known has changed. Endpoints that are still there keep their requests in flight, their breakers and
    /// what they refused; servers keep their health.
    pub fn rebuild(&self, config: &Config, known: Known) -> Self {
        self.built(config, self.keys.clone(), known)
    }

    fn built(&self, config: &Config, keys: Arc<ServerKeys>, mut known: Known) -> Self {
        let health = |url: BaseUrl| {
            // Without checks no verdict would ever turn.
            let is_checked = config.upstream.health_ms > 0;
            let before = self.health.get(&url).filter(|_| is_checked).cloned();
            (url, before.unwrap_or_default())
        };
        let health: BTreeMap<_, _> = servers(config)
            .into_iter()
            .map(|server| health(server.url))
            .collect();
        known.listings.retain(|url, _| health.contains_key(url));
        known.probes.retain(|(url, _), _| health.contains_key(url));
        let build = build::Build {
            config,
            known: &known,
            health: &health,
            keys: &keys,
            before: self,
        };
        let models = build.models();
        let servers = config.discover.iter().map(|server| &server.url);
        let pending = servers
            .filter(|url| !known.listings.contains_key(*url))
            .cloned()
            .collect();
        Self {
            models,
            known,
            health,
            keys,
            aliases: config.aliases.clone(),
            pending,
            open: config.ext_proc.is_some()
                && config.models.is_empty()
                && config.aliases.is_empty()
                && config.discover.is_empty(),
        }
    }

    /// The model a request means: the one it names, or the only one there is.
    ///
    /// # Errors
    /// An unknown name, or none where there is a choice. Before the first listing nothing can be unknown: 503.
    pub fn resolve(&self, name: Option<&str>) -> Result<Target, Error> {
        let name = match name {
            Some(name) => name,
            None => match (
                self.models.len() + self.aliases.len(),
                self.models.keys().next(),
            ) {
                (1, Some(only)) => only,
                _ if self.open => "", // the server knows which
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
            None if self.open => Ok(Target::Model {
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

    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.models.get(name)
    }

    /// What servers say of themselves.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// How the server is; `None` when it is none of the configuration's.
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

    /// Every model, in the order of their names.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The answer to `GET /v1/models`.
    pub fn list(&self) -> Value {
        let aliases = self.aliases.keys().map(|name| entry_of_ours(name));
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
        let alias = || self.aliases.contains_key(name).then(|| entry_of_ours(name));
        self.models
            .get(name)
            .map(|model| model.entry.clone())
            .or_else(alias)
            .or_else(|| self.open.then(|| entry_of_ours(name)))
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

/// What a name of ours looks like in `/v1/models`.
fn entry_of_ours(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "thinkgate"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::endpoint::tests::put_down;

    fn listings(entries: Value) -> Known {
        let url = BaseUrl::parse("http://a").unwrap();
        let listing = serde_json::from_value(json!({"data": entries})).unwrap();
        Known {
            listings: Listings::from([(url, listing)]),
            ..Known::default()
        }
    }

    #[test]
    fn a_configured_model_is_recognised_by_what_its_server_lists() {
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
    fn before_the_first_list_nothing_is_unknown() {
        let config = Config::from_yaml("{discover: [{url: 'http://a'}]}").unwrap();
        let empty = Catalog::build(&config, Arc::default(), Known::default());
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
    fn behind_envoy_without_models_every_name_is_taken_for_what_it_says() {
        let config = Config::from_yaml("{ext_proc: {listen: '127.0.0.1:1'}}").unwrap();
        let catalog = Catalog::build(&config, Arc::default(), Known::default());
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
        let catalog = Catalog::build(&config, Arc::default(), Known::default());
        assert!(catalog.resolve(Some("mystery")).is_err());
        let model = catalog.model("Qwen3-8B").map(AsRef::as_ref);
        assert_eq!(Profile::of(model, "Qwen3-8B").family.unwrap().id, "qwen3");
    }

    #[test]
    fn vllms_list_is_the_same_however_often_it_is_asked_for() {
        let asked = |created: u64, root: &str| -> Listing {
            let permission = json!([{"id": format!("modelperm-{created}"), "created": created}]);
            let entry =
                json!({"id": "m", "root": root, "created": created, "permission": permission});
            serde_json::from_value(json!({"data": [entry]})).unwrap()
        };
        assert_eq!(asked(1, "Qwen3-8B"), asked(2, "Qwen3-8B"));
        assert_ne!(asked(1, "Qwen3-8B"), asked(1, "Qwen3-4B"));
    }

    #[test]
    fn an_endpoint_that_is_still_there_keeps_its_condition() {
        let config = Config::from_yaml("{models: {m: {endpoints: [{url: 'http://a'}]}}}").unwrap();
        let first = Catalog::build(&config, Arc::default(), Known::default());
        let endpoint = |catalog: &Catalog| catalog.model("m").unwrap().endpoints[0].clone();
        put_down(&endpoint(&first));
        let next = first.rebuild(&config, listings(json!([{"id": "m"}])));
        assert!(!endpoint(&next).is_fit(std::time::Instant::now()));
        assert!(
            endpoint(&Catalog::build(&config, Arc::default(), Known::default()))
                .is_fit(std::time::Instant::now())
        );
    }

    #[test]
    fn two_servers_that_list_one_model_share_it() {
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
