//! Which models there are: configured ones and aliases always, discovered ones as their servers list them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::Endpoint;
use crate::{
    config::{self, BaseUrl, Config, Secret},
    error::Error,
    routing::{Family, Mode, Target},
};

/// What one server's `/v1/models` says, the entries as it wrote them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Listing {
    /// One entry a model.
    pub data: Vec<Value>,
}

/// The latest listing of every server that ever answered.
pub type Listings = BTreeMap<BaseUrl, Listing>;

/// One model by the name clients use.
#[derive(Debug)]
pub struct Model {
    /// Its name here.
    pub name: Arc<str>,
    /// How it switches, as far as a request without an endpoint is concerned.
    pub family: Option<&'static Family>,
    /// False: never judged.
    pub gate: bool,
    /// The servers that have it.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Its entry in `/v1/models`.
    entry: Value,
}

/// All models and aliases at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    models: BTreeMap<Arc<str>, Arc<Model>>,
    aliases: BTreeMap<String, config::Alias>,
    /// The servers that are to be discovered and have not answered yet. While there are any, no name is unknown.
    pub pending: Vec<BaseUrl>,
}

impl Catalog {
    /// Puts together what is configured and what was discovered.
    pub fn build(config: &Config, listings: &Listings) -> Self {
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
                    entry: entry.clone(),
                });
                model.endpoints.push(endpoint);
            }
        }
        for (name, settings) in &config.models {
            let model = configured(name, settings, listings);
            models.insert(model.name.clone(), model);
        }
        let models = models
            .into_iter()
            .map(|(name, model)| (name, Arc::new(model)))
            .collect();
        let servers = config.discover.iter().map(|server| &server.url);
        let pending = servers
            .filter(|url| !listings.contains_key(*url))
            .cloned()
            .collect();
        Self {
            models,
            aliases: config.aliases.clone(),
            pending,
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

/// A model as its server lists it, at that server.
fn discovered(server: &config::Discover, id: &str, entry: &Value) -> Arc<Endpoint> {
    let key = server
        .api_key
        .as_ref()
        .and_then(|key| Secret::reveal(key).ok()); // revealed once already, when validated
    let family = Family::recognise(id, entry["root"].as_str(), entry["parent"].as_str());
    Arc::new(Endpoint::new(
        server.url.clone(),
        key.as_ref(),
        1,
        None,
        family,
    ))
}

fn configured(name: &str, settings: &config::Model, listings: &Listings) -> Model {
    let endpoints: Vec<Arc<Endpoint>> = settings
        .endpoints
        .iter()
        .map(|endpoint| endpoint_of(name, settings, endpoint, listings))
        .collect();
    let family = endpoints.iter().find_map(|endpoint| endpoint.family);
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
        entry,
    }
}

fn endpoint_of(
    name: &str,
    settings: &config::Model,
    endpoint: &config::Endpoint,
    listings: &Listings,
) -> Arc<Endpoint> {
    let key = endpoint
        .api_key
        .as_ref()
        .and_then(|key| Secret::reveal(key).ok());
    let there = endpoint.model.as_deref().unwrap_or(name);
    let family = match settings.family.as_str() {
        "auto" => {
            let entry = listed(name, endpoint, listings);
            let says = |key: &str| entry.and_then(|entry| entry[key].as_str());
            Family::recognise(there, says("root"), says("parent"))
                .or_else(|| Family::recognise(name, None, None))
        }
        id => Family::by_id(id, there),
    };
    Arc::new(Endpoint::new(
        endpoint.url.clone(),
        key.as_ref(),
        endpoint.weight,
        endpoint.model.clone(),
        family,
    ))
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

fn entry_of_ours(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "thinkgate"})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listings(entries: Value) -> Listings {
        let url = BaseUrl::parse("http://a").unwrap();
        [(
            url,
            serde_json::from_value(json!({"data": entries})).unwrap(),
        )]
        .into()
    }

    #[test]
    fn a_configured_model_is_recognised_by_what_its_server_lists() {
        let config = Config::from_yaml(
            "{models: {chat: {endpoints: [{url: 'http://a', model: served}]}, own: {family: gpt_oss, endpoints: [{url: 'http://b'}]}}}",
        )
        .unwrap();
        let catalog = Catalog::build(
            &config,
            &listings(json!([{"id": "served", "root": "/m/Qwen3-4B", "max_model_len": 7}])),
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
        let empty = Catalog::build(&config, &Listings::new());
        assert!(matches!(
            empty.resolve(Some("m")),
            Err(Error::NoEndpoint(_))
        ));
        assert!(matches!(empty.resolve(None), Err(Error::NoEndpoint(_))));
        let one = Catalog::build(&config, &listings(json!([{"id": "Qwen3-8B"}])));
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
        let two = Catalog::build(&config, &listings(json!([{"id": "x"}, {"id": "y"}])));
        assert!(two.resolve(None).unwrap_err().to_string().contains("x, y"));
    }

    #[test]
    fn two_servers_that_list_one_model_share_it() {
        let config =
            Config::from_yaml("{discover: [{url: 'http://a'}, {url: 'http://b'}]}").unwrap();
        let mut listings = listings(json!([{"id": "m", "root": "Qwen3-8B"}]));
        listings.insert(
            BaseUrl::parse("http://b").unwrap(),
            Listing {
                data: vec![json!({"id": "m"})],
            },
        );
        let catalog = Catalog::build(&config, &listings);
        assert_eq!(catalog.model("m").unwrap().endpoints.len(), 2);
    }
}
