//! What an operator should know of a model, in the log.

use crate::{
    config::{BaseUrl, Config},
    state::AppState,
    upstream::{Catalog, Endpoint, Model},
};

/// Says how a model at a server switches, and what of it is not as its name or the configuration says.
pub fn say(state: &AppState, catalog: &Catalog, model: &Model, endpoint: &Endpoint) {
    let (name, server) = (&*model.name, &endpoint.url);
    match endpoint.family {
        Some(family) => {
            tracing::info!(model = name, %server, family = family.id, gate = model.gate, "model");
        }
        None if model.gate => {
            tracing::warn!(
                model = name,
                fix = fix(&state.config, model),
                "family not recognised; its requests are left alone. Name the family in the configuration"
            );
        }
        None => {}
    }
    if let Some(surprise) = endpoint.surprise() {
        tracing::warn!(model = name, %server, "{surprise}");
    }
    let there = endpoint.model.as_deref().unwrap_or(name);
    let listing = catalog.known().listings.get(server);
    if listing.is_some_and(|listing| listing.entry(there).is_none()) {
        tracing::warn!(model = name, endpoint = %server, "the endpoint does not list `{there}`");
    }
}

/// What to write so that the family is known. A configured model has other fields, which stay; of one that was discovered the
/// whole entry is shown, since nothing of a configured one is discovered.
fn fix(config: &Config, model: &Model) -> String {
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
    use crate::upstream::{Known, Listing};

    #[test]
    fn the_line_that_names_a_family_takes_nothing_away() {
        let config = Config::from_yaml(
            "{models: {ours: {gate: true, endpoints: [{url: 'http://a', weight: 3}]}},
              discover: [{url: 'http://a'}, {url: 'http://b', api_key: 'env:B_KEY'}]}",
        )
        .unwrap();
        let mut known = Known::default();
        for server in &config.discover {
            let data = vec![json!({"id": "theirs"})];
            known.take_up(&server.url, Listing { data });
        }
        let catalog = Catalog::build(&config, Default::default(), known);
        let fix = |name| fix(&config, catalog.model(name).unwrap());
        assert_eq!(fix("ours"), "models.ours.family: FAMILY");
        assert_eq!(
            fix("theirs"),
            "models: { \"theirs\": { family: FAMILY, endpoints: [{ url: \"http://a\" }, { url: \"http://b\", api_key: \"env:B_KEY\" }] } }"
        );
    }
}
