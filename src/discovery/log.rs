//! Logs what an operator should know about a model.

use crate::{
    config::{BaseUrl, Config},
    state::AppState,
    upstream::{Catalog, Endpoint, Model},
};

/// Logs how a model at a server switches, and what of it contradicts its name or the configuration.
pub fn log_model(state: &AppState, catalog: &Catalog, model: &Model, endpoint: &Endpoint) {
    let (name, server) = (&*model.name, &endpoint.url);
    match endpoint.family {
        Some(family) => {
            tracing::info!(model = name, %server, family = family.id, gate = model.gate, "model");
        }
        None if model.gate => {
            tracing::warn!(
                model = name,
                fix = config_hint(&state.config, model),
                "family not recognised; its requests are left alone. Name the family in the configuration"
            );
        }
        None => {}
    }
    if let Some(warning) = endpoint.mismatch_warning() {
        tracing::warn!(model = name, %server, "{warning}");
    }
    let served_name = endpoint.model.as_deref().unwrap_or(name);
    let listing = catalog.facts().listings.get(server);
    if listing.is_some_and(|listing| listing.entry(served_name).is_none()) {
        tracing::warn!(model = name, endpoint = %server, "the endpoint does not list `{served_name}`");
    }
}

/// The setting that names the model's family. A configured model needs one line, since its other fields stay. A discovered one needs
/// a whole entry, because a configured model replaces a discovered one.
fn config_hint(config: &Config, model: &Model) -> String {
    let name = &model.name;
    if config.models.contains_key(&**name) {
        return format!("models.{name}.family: FAMILY");
    }
    let key = |url: &BaseUrl| {
        let server = config.discover.iter().find(|server| server.url == *url);
        let key = server.and_then(|server| server.api_key.as_ref());
        key.map_or_else(String::new, |key| format!(", api_key: \"{key}\""))
    };
    let endpoints = model.endpoints.iter().map(|endpoint| &endpoint.url);
    let endpoints: Vec<String> = endpoints
        .map(|url| format!("{{ url: \"{url}\"{} }}", key(url)))
        .collect();
    let endpoints = endpoints.join(", ");
    format!("models: {{ \"{name}\": {{ family: FAMILY, endpoints: [{endpoints}] }} }}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::upstream::{Listing, ServerFacts};

    #[test]
    fn the_config_hint_keeps_every_endpoint_and_key() {
        let config = Config::from_yaml(
            "{models: {ours: {gate: true, endpoints: [{url: 'http://a', weight: 3}]}},
              discover: [{url: 'http://a'}, {url: 'http://b', api_key: 'env:B_KEY'}]}",
        )
        .unwrap();
        let mut facts = ServerFacts::default();
        for server in &config.discover {
            let data = vec![json!({"id": "theirs"})];
            facts.update(&server.url, Listing { data });
        }
        let catalog = Catalog::build(&config, Default::default(), facts);
        let hint = |name| config_hint(&config, catalog.model(name).unwrap());
        assert_eq!(hint("ours"), "models.ours.family: FAMILY");
        assert_eq!(
            hint("theirs"),
            "models: { \"theirs\": { family: FAMILY, endpoints: [{ url: \"http://a\" }, { url: \"http://b\", api_key: \"env:B_KEY\" }] } }"
        );
    }
}
