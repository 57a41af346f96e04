//! Polls the model list of one server, and probes models that are new or changed.

use std::{
    collections::BTreeMap,
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{backoff::ProbeBackoff, interval::every, log::log_model};
use crate::{
    routing::Family,
    state::AppState,
    upstream::{Catalog, Listing, ModelServer, ProbeError, ProbeFindings, list_models, probe},
};

/// How long the probes after one poll may take; the remaining models wait for the next poll. vLLM needs 20 ms per model.
const PROBE_ROUND: Duration = Duration::from_secs(2);

/// The judged models of a server by their names there, with their expected families.
type GatedModels = BTreeMap<String, Option<&'static Family>>;

/// The results of probes by the models' names at the server; `None` if the server cannot tell.
type Findings = BTreeMap<String, Option<ProbeFindings>>;

/// Polls the model list of one server.
pub struct ModelPoller<'a> {
    state: &'a AppState,
    server: &'a ModelServer,
    /// Why the latest poll failed, if it did.
    trouble: Option<String>,
    /// True before the first listing under this configuration, which may name other models than the one before.
    is_first: bool,
    backoff: ProbeBackoff,
}

impl<'a> ModelPoller<'a> {
    /// A poller that has not polled yet.
    pub fn new(state: &'a AppState, server: &'a ModelServer) -> Self {
        Self {
            state,
            server,
            trouble: None,
            is_first: true,
            backoff: ProbeBackoff::default(),
        }
    }

    /// Polls every `upstream.discover_ms`. Never returns.
    pub async fn run(mut self) {
        let mut ticks = every(self.state.config.upstream.discover_interval());
        loop {
            ticks.tick().await;
            match list_models(&self.state.client, self.server).await {
                Ok(listing) => self.on_listing(listing).await,
                Err(trouble) => self.on_failure(trouble),
            }
        }
    }

    fn on_failure(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(server = %self.server.url, trouble, "cannot list its models; asking again");
        }
        self.trouble = Some(trouble);
    }

    /// Probes the models that need it, and publishes a new catalog if the listing or the findings are new.
    async fn on_listing(&mut self, listing: Listing) {
        let diff = self.diff(&listing);
        if diff.is_empty() && self.backoff.is_empty() {
            return;
        }
        let gated = self.gated_models(&listing);
        self.backoff.retain(|name| gated.contains_key(name));
        for name in gated.keys().filter(|name| diff.needs_probe(name)) {
            self.backoff.add(name);
        }
        // Probed before the listing is published, so that the first request already gets the switch that works.
        let findings = self.probe_due(&gated).await;
        if diff.is_empty() && findings.is_empty() {
            return;
        }
        let catalog = self.catalog_with(&listing, &findings);
        for (model, endpoint) in catalog.models_at(&self.server.url) {
            let name = endpoint.model.as_deref().unwrap_or(&model.name);
            if diff.may_have_changed(name) {
                endpoint.forget_switch_rejection();
            }
            if diff.needs_probe(name) || findings.contains_key(name) {
                log_model(self.state, &catalog, model, endpoint);
            }
        }
        self.state.catalog.store(Arc::new(catalog));
    }

    fn diff<'l>(&mut self, now: &'l Listing) -> ListingDiff<'l> {
        let catalog = self.state.catalog.load();
        let before = catalog.facts().listings.get(&self.server.url).cloned();
        let is_back = self.trouble.take().is_some();
        if is_back || before.is_none() {
            tracing::info!(server = %self.server.url, models = now.data.len(), "listed its models");
        }
        ListingDiff {
            before,
            now,
            is_back,
            is_first: take(&mut self.is_first),
        }
    }

    fn gated_models(&self, listing: &Listing) -> GatedModels {
        let draft = self.catalog_with(listing, &BTreeMap::new());
        let here = draft.models_at(&self.server.url);
        here.filter(|(model, _)| model.gate)
            .map(|(model, endpoint)| {
                let name = endpoint.model.as_deref().unwrap_or(&model.name);
                (name.to_owned(), endpoint.expected_family)
            })
            .collect()
    }

    /// Probes the models that are due, one after another, because the server has requests to serve too.
    async fn probe_due(&mut self, gated: &GatedModels) -> Findings {
        let began = Instant::now();
        let mut findings = Findings::new();
        for name in self.backoff.next_due() {
            if began.elapsed() >= PROBE_ROUND {
                break;
            }
            let expected = gated.get(&name).copied().flatten();
            let result = probe(&self.state.client, self.server, &name, expected).await;
            if matches!(result, Err(ProbeError::Transient)) {
                if self.backoff.on_failure(&name) {
                    let server = &self.server.url;
                    tracing::info!(model = name, %server, "cannot ask how it renders a chat now; asking again");
                }
                continue;
            }
            self.backoff.on_answer(&name);
            findings.insert(name, result.ok());
        }
        findings
    }

    /// The current catalog with this listing and these findings.
    fn catalog_with(&self, listing: &Listing, findings: &Findings) -> Catalog {
        let before = self.state.catalog.load();
        let mut facts = before.facts().clone();
        facts.update(&self.server.url, listing.clone());
        for (name, found) in findings {
            let key = (self.server.url.clone(), name.clone());
            match found {
                Some(found) => facts.probes.insert(key, *found),
                None => facts.probes.remove(&key),
            };
        }
        before.rebuild(&self.state.config, facts)
    }
}

/// How a listing differs from the one before.
struct ListingDiff<'l> {
    before: Option<Listing>,
    now: &'l Listing,
    /// True if the poll before failed.
    is_back: bool,
    /// True for the first listing under this configuration.
    is_first: bool,
}

impl ListingDiff<'_> {
    /// True if no model needs a look.
    fn is_empty(&self) -> bool {
        !self.is_first && !self.is_back && self.before.as_ref() == Some(self.now)
    }

    /// True if a model must be probed and logged again.
    fn needs_probe(&self, name: &str) -> bool {
        self.is_first || self.may_have_changed(name)
    }

    /// True if a model may behave differently: its server was away and may have other flags, or lists it differently. False for
    /// the first listing ever, which has nothing to compare with.
    fn may_have_changed(&self, name: &str) -> bool {
        let before = self.before.as_ref();
        self.is_back || before.is_some_and(|before| !before.agrees(self.now, name))
    }
}
