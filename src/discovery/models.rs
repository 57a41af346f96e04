//! What a server lists, and what its models obey: taken up when it changes.

use std::{
    collections::BTreeMap,
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{backoff::Due, every, log::say};
use crate::{
    routing::Family,
    state::AppState,
    upstream::{Catalog, Listing, Probed, Server, Unknown, look, probe},
};

/// How long a look may spend on asking about models; whoever is left waits for the next one. vLLM answers for one in 20 ms.
const ROUND: Duration = Duration::from_secs(2);

/// Looks at the list of one server.
pub struct Lists<'a> {
    state: &'a AppState,
    server: &'a Server,
    /// Why there was no list the last time.
    trouble: Option<String>,
    /// The configuration may name other models there than the one before it.
    is_first: bool,
    due: Due,
}

impl<'a> Lists<'a> {
    /// A server that was not looked at under this configuration.
    pub fn of(state: &'a AppState, server: &'a Server) -> Self {
        Self {
            state,
            server,
            trouble: None,
            is_first: true,
            due: Due::default(),
        }
    }

    /// Looks again and again. Never returns.
    pub async fn watch(mut self) {
        let mut rounds = every(self.state.config.upstream.discover_ms);
        loop {
            rounds.tick().await;
            match look(&self.state.client, self.server).await {
                Ok(listing) => self.heard(listing).await,
                Err(trouble) => self.missed(trouble),
            }
        }
    }

    fn missed(&mut self, trouble: String) {
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(server = %self.server.url, trouble, "cannot list its models; asking again");
        }
        self.trouble = Some(trouble);
    }

    /// Takes up a list that is new, and what was found out of models that are listed still.
    async fn heard(&mut self, listing: Listing) {
        let news = self.news(&listing);
        if news.are_none() && self.due.is_empty() {
            return;
        }
        let gated = self.gated(&listing);
        self.due.keep(|there| gated.contains_key(there));
        for there in gated.keys().filter(|there| news.hold(there)) {
            self.due.add(there);
        }
        // Asked before anybody is served by the list, so that the first request gets the switch that works.
        let found = self.ask(&gated).await;
        if news.are_none() && found.is_empty() {
            return;
        }
        let catalog = self.with(&listing, &found);
        for (model, endpoint) in catalog.models_at(&self.server.url) {
            let there = endpoint.model.as_deref().unwrap_or(&model.name);
            if news.is_other(there) {
                endpoint.forget_refusal();
            }
            if news.hold(there) || found.contains_key(there) {
                say(self.state, &catalog, model, endpoint);
            }
        }
        self.state.catalog.store(Arc::new(catalog));
    }

    fn news<'l>(&mut self, now: &'l Listing) -> News<'l> {
        let catalog = self.state.catalog.load();
        let before = catalog.known().listings.get(&self.server.url).cloned();
        let is_back = self.trouble.take().is_some();
        if is_back || before.is_none() {
            tracing::info!(server = %self.server.url, models = now.data.len(), "listed its models");
        }
        News {
            before,
            now,
            is_back,
            is_first: take(&mut self.is_first),
        }
    }

    /// The models that would be judged, by their names there, and how these say that they switch.
    fn gated(&self, listing: &Listing) -> BTreeMap<String, Option<&'static Family>> {
        let draft = self.with(listing, &BTreeMap::new());
        let here = draft.models_at(&self.server.url);
        here.filter(|(model, _)| model.gate)
            .map(|(model, endpoint)| {
                let there = endpoint.model.as_deref().unwrap_or(&model.name);
                (there.to_owned(), endpoint.by_name)
            })
            .collect()
    }

    /// Asks about those whose turn it is, one after another: the server has requests to serve too. What it says of them.
    async fn ask(
        &mut self,
        gated: &BTreeMap<String, Option<&'static Family>>,
    ) -> BTreeMap<String, Option<Probed>> {
        let began = Instant::now();
        let mut found = BTreeMap::new();
        for there in self.due.at_this_look() {
            if began.elapsed() >= ROUND {
                break;
            }
            let by_name = gated.get(&there).copied().flatten();
            let answer = probe(&self.state.client, self.server, &there, by_name).await;
            if matches!(answer, Err(Unknown::Unheard)) {
                if self.due.missed(&there) {
                    let server = &self.server.url;
                    tracing::info!(model = there, %server, "cannot ask how it renders a chat now; asking again");
                }
                continue;
            }
            self.due.answered(&there);
            found.insert(there, answer.ok());
        }
        found
    }

    /// The catalog of now, with this list, and with what was found out.
    fn with(&self, listing: &Listing, found: &BTreeMap<String, Option<Probed>>) -> Catalog {
        let before = self.state.catalog.load();
        let mut known = before.known().clone();
        known.take_up(&self.server.url, listing.clone());
        for (there, probed) in found {
            let of = (self.server.url.clone(), there.clone());
            match probed {
                Some(probed) => known.probes.insert(of, *probed),
                None => known.probes.remove(&of),
            };
        }
        before.rebuild(&self.state.config, known)
    }
}

/// What is new in a list.
struct News<'l> {
    before: Option<Listing>,
    now: &'l Listing,
    is_back: bool,
    is_first: bool,
}

impl News<'_> {
    /// True when nothing is.
    fn are_none(&self) -> bool {
        !self.is_first && !self.is_back && self.before.as_ref() == Some(self.now)
    }

    /// True when a model is to be looked at anew.
    fn hold(&self, there: &str) -> bool {
        self.is_first || self.is_other(there)
    }

    /// True when a model may not be what it was: its server was away and may have come back with other flags, or lists it
    /// otherwise. The first list says nothing of what was before it.
    fn is_other(&self, there: &str) -> bool {
        let before = self.before.as_ref();
        self.is_back || before.is_some_and(|before| !before.agrees(self.now, there))
    }
}
