//! Keeps what is known of the model servers true: what they list, which switches their models obey, and whether they are well.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    config::BaseUrl,
    live::{Live, Serving},
    upstream::{Catalog, Listing, Probed, Server, check, look, probe, servers},
};

/// Watches every server of the configuration, of each one that is taken up later too. Never returns.
pub async fn servers_of(serving: Serving) {
    loop {
        let live = serving.live();
        let servers = servers(&live.config);
        let watched = join_all(servers.iter().map(|server| watch(&live, server)));
        let watched = async {
            watched.await;
            std::future::pending::<()>().await; // there are none
        };
        tokio::select! {
            () = watched => {}
            () = serving.replaced(&live) => {}
        }
    }
}

async fn watch(live: &Live, server: &Server) {
    tokio::join!(lists(live, server), checks(live, server));
}

fn every(milliseconds: u64) -> Interval {
    let mut rounds = interval(Duration::from_millis(milliseconds));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Asks how the server is, again and again.
async fn checks(live: &Live, server: &Server) {
    let settings = &live.config.upstream;
    let (Some(results), 1..) = (NonZeroU32::new(settings.health_results), settings.health_ms)
    else {
        return;
    };
    let mut rounds = every(settings.health_ms);
    loop {
        rounds.tick().await;
        let found = check(&live.client, server).await;
        let catalog = live.catalog.load();
        let Some(health) = catalog.health(&server.url) else {
            return;
        };
        match (health.heard(found.is_ok(), results), found) {
            (Some(false), Err(trouble)) => {
                tracing::warn!(server = %server.url, trouble, "the server is not well; its endpoints are left out");
            }
            (Some(true), _) => tracing::info!(server = %server.url, "the server is well again"),
            _ => {}
        }
        live.metrics.well(server.url.as_str(), health.is_well());
    }
}

/// Asks for the server's list of models, again and again, and swaps the catalog when it changed.
async fn lists(live: &Live, server: &Server) {
    let mut rounds = every(live.config.upstream.discover_ms);
    let mut trouble: Option<String> = None;
    let mut is_first = true; // the configuration may name other models there than the one before it
    loop {
        rounds.tick().await;
        let listing = match look(&live.client, server).await {
            Ok(listing) => listing,
            Err(found) => {
                if trouble.as_ref() != Some(&found) {
                    tracing::warn!(server = %server.url, trouble = found, "cannot list its models; asking again");
                }
                trouble = Some(found);
                continue;
            }
        };
        let is_back = trouble.take().is_some();
        let before = live.catalog.load();
        let before = before.known().listings.get(&server.url);
        if is_back || before.is_none() {
            tracing::info!(server = %server.url, models = listing.data.len(), "listed its models");
        }
        if std::mem::take(&mut is_first) || is_back || before != Some(&listing) {
            update(live, server, listing).await;
        }
    }
}

/// Takes up a list that is new, or that of a server that was away: it may have come back with other flags.
async fn update(live: &Live, server: &Server, listing: Listing) {
    let with = |listing: Listing, probes: Vec<(String, Option<Probed>)>| {
        let before = live.catalog.load();
        let mut known = before.known().clone();
        known.listings.insert(server.url.clone(), listing);
        for (model, probed) in probes {
            let of = (server.url.clone(), model);
            match probed {
                Some(probed) => known.probes.insert(of, probed),
                None => known.probes.remove(&of),
            };
        }
        before.rebuild(&live.config, known)
    };
    // Probed before anybody is served by it, so that the first request gets the switch that works.
    let draft = with(listing.clone(), Vec::new());
    let probed = probes(live, server, &draft).await;
    let catalog = with(listing, probed);
    for (_, endpoint) in catalog.models_at(&server.url) {
        endpoint.forget_refusal();
    }
    say(&catalog, &server.url);
    live.catalog.store(Arc::new(catalog));
}

/// What every model at a server obeys.
async fn probes(live: &Live, server: &Server, catalog: &Catalog) -> Vec<(String, Option<Probed>)> {
    let at = catalog.models_at(&server.url);
    let gated = at.filter(|(model, _)| model.gate);
    join_all(gated.map(|(model, endpoint)| async {
        let there = endpoint.model.as_deref().unwrap_or(&model.name).to_owned();
        let probed = probe(&live.client, server, &there, endpoint.by_name).await;
        (there, probed)
    }))
    .await
}

/// What an operator should know of the models at a server.
fn say(catalog: &Catalog, url: &BaseUrl) {
    for (model, endpoint) in catalog.models_at(url) {
        let name = &*model.name;
        match endpoint.family {
            Some(family) => {
                tracing::info!(model = name, server = %url, family = family.id, gate = model.gate, "model");
            }
            None if model.gate => tracing::warn!(
                model = name,
                fix = format!(
                    "models: {{ \"{name}\": {{ family: FAMILY, endpoints: [{{ url: \"{url}\" }}] }} }}"
                ),
                "family not recognised; its requests are left alone. Name the family in the configuration"
            ),
            None => {}
        }
        if let Some(surprise) = endpoint.surprise() {
            tracing::warn!(model = name, server = %url, "{surprise}");
        }
        let there = endpoint.model.as_deref().unwrap_or(name);
        let listing = catalog.known().listings.get(url);
        if listing.is_some_and(|listing| listing.data.iter().all(|entry| entry["id"] != there)) {
            tracing::warn!(model = name, endpoint = %url, "the endpoint does not list `{there}`");
        }
    }
}
