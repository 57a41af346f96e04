//! One server that has a model.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderValue, Uri};
use parking_lot::Mutex;

use super::{
    Health, Probed,
    breaker::{Breaker, Patience, Turned},
    probe::End,
    wire::{Origin, path_of},
};
use crate::{api::CHAT, config::BaseUrl, error::Error, routing::Family};

/// One server that has a model.
#[derive(Debug)]
pub struct Endpoint {
    /// Its address.
    pub url: BaseUrl,
    /// The model's name there, when it is another than here.
    pub model: Option<String>,
    /// The same as a header's value, of whichever name it has there; `None` when it cannot be one.
    pub called: Option<HeaderValue>,
    /// How the model switches there; two endpoints of one model may obey different switches.
    pub family: Option<&'static Family>,
    /// How its name says that it switches.
    pub by_name: Option<&'static Family>,
    /// What the server's own rendering says of it.
    pub probed: Option<Probed>,
    /// The address as a label, shared by every record that names it.
    pub label: Arc<str>,
    /// Where chat requests go, which are most.
    chat: Option<Uri>,
    /// What it is connected to.
    origin: Option<Origin>,
    key: Option<HeaderValue>,
    pub(super) weight: u32,
    patience: Patience,
    health: Arc<Health>,
    condition: Arc<Condition>,
}

/// What is said of an endpoint where it is configured or listed.
#[derive(Debug)]
pub struct Site {
    /// Its address.
    pub url: BaseUrl,
    /// The `Authorization` it wants, when it has a key.
    pub key: Option<HeaderValue>,
    /// Its share of the requests.
    pub weight: u32,
    /// The model's name there, when it is another than here.
    pub model: Option<String>,
    /// How its name says that the model switches, or the operator.
    pub by_name: Option<&'static Family>,
    /// What the server's own rendering says of it.
    pub probed: Option<Probed>,
    /// True when the operator named the family, who is believed before the rendering.
    pub is_set: bool,
    /// How the server is.
    pub health: Arc<Health>,
}

/// What is known of an endpoint from the requests it was sent; outlives a change of the catalog.
#[derive(Debug, Default)]
struct Condition {
    in_flight: AtomicUsize,
    breaker: Breaker,
    /// Whose switch the server would not take.
    refused: Mutex<Option<&'static Family>>,
    rest: Mutex<Option<Instant>>,
}

/// The longest rest that is believed. Whoever asks for more may be mistaken, and is asked again.
const REST: Duration = Duration::from_secs(60);

impl Endpoint {
    /// An endpoint, of which nothing has been asked yet, of the model that we call `name`.
    pub fn new(name: &str, site: Site, patience: Patience) -> Self {
        let called = site.model.as_deref().unwrap_or(name);
        Self {
            called: HeaderValue::try_from(called).ok(),
            origin: Origin::of(&site.url),
            chat: path_of(&site.url.join(CHAT)),
            label: site.url.as_str().into(),
            url: site.url,
            model: site.model,
            family: match site.probed {
                Some(probed) if !site.is_set => Some(probed.family),
                _ => site.by_name,
            },
            by_name: site.by_name,
            probed: site.probed,
            key: site.key,
            weight: site.weight,
            patience,
            health: site.health,
            condition: Arc::default(),
        }
    }

    /// The same endpoint in a newer catalog: in the condition it was in before.
    pub(super) fn taking_over(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before {
            self.condition = before.condition.clone();
        }
        self
    }

    /// True for the same model at the same server.
    pub(super) fn is_at(&self, url: &BaseUrl, model: Option<&str>) -> bool {
        self.url == *url && self.model.as_deref() == model
    }

    /// True unless it keeps failing, or its server is not well or asked for a rest.
    pub fn is_fit(&self, now: Instant) -> bool {
        self.is_up(now) && !self.rests(now)
    }

    /// The same of one that may rest.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.health.is_well() && self.condition.breaker.admits(now)
    }

    /// The server asked to be left alone for so long (`Retry-After`); counts where there is another to ask.
    pub(super) fn rest(&self, time: Duration) {
        let until = Instant::now() + time.min(REST);
        *self.condition.rest.lock() = Some(until);
    }

    fn rests(&self, now: Instant) -> bool {
        let mut rest = self.condition.rest.lock();
        let rests = rest.is_some_and(|until| now < until);
        if !rests {
            *rest = None;
        }
        rests
    }

    /// What an operator would not expect of the model here, given its name: in words for the log.
    pub fn surprise(&self) -> Option<String> {
        let probed = self.probed?;
        let family = probed.family.id;
        let named = self.by_name.map_or("unknown", |family| family.id);
        let is_as_named = self
            .by_name
            .is_some_and(|named| std::ptr::eq(named, probed.family));
        let is_taken_up = self
            .family
            .is_some_and(|family| std::ptr::eq(family, probed.family));
        match (is_as_named, is_taken_up, probed.changes) {
            (false, true, _) => Some(format!(
                "by its name it would be `{named}`, but its chat template switches like `{family}`, which is what it gets"
            )),
            (false, false, _) => Some(format!(
                "`family: {named}` is configured and used, but its chat template switches like `{family}`"
            )),
            (true, _, Some(End::Head)) => Some(format!(
                "`{family}` changes the head of the prompt: a change of mode within a conversation loses its whole prefix cache"
            )),
            _ => None,
        }
    }

    /// The `Authorization` this endpoint wants, when it has a key of its own.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// What to connect to, and the path of `path` there, which begins with a slash and may carry a query.
    ///
    /// # Errors
    /// A 400 when the path makes no URL.
    pub(super) fn at(&self, path: &str) -> Result<(&Origin, Uri), Error> {
        let there = match &self.chat {
            Some(chat) if path == CHAT => Some(chat.clone()),
            _ => path_of(&self.url.join(path)),
        };
        let at = self.origin.as_ref().zip(there);
        at.ok_or_else(|| Error::invalid("The path makes no URL."))
    }

    /// True when the server took a request only without the switch that we would send. Of another one, after the configuration
    /// or a probe has named it, nothing is known.
    pub fn refuses(&self) -> bool {
        let refused = *self.condition.refused.lock();
        let both = refused.zip(self.family);
        both.is_some_and(|(refused, family)| std::ptr::eq(refused, family))
    }

    /// Remembers that the server takes requests only without our switch.
    pub(super) fn remember_refusal(&self) {
        *self.condition.refused.lock() = self.family;
    }

    /// Its server was away, or lists the model otherwise: it may have come back with other flags.
    pub fn forget_refusal(&self) {
        *self.condition.refused.lock() = None;
    }

    /// The server answered what it was sent at `began`, whatever it said, to the end.
    pub(super) fn answered(&self, began: Instant) {
        self.turns(self.condition.breaker.succeeded(began));
    }

    /// The body of its answer began.
    pub(super) fn begins(&self, began: Instant) {
        self.turns(self.condition.breaker.begun(began, self.patience));
    }

    /// The server could not be reached, or did not answer what it was sent at `began`, or not to the end.
    pub(super) fn failed(&self, began: Instant) {
        let breaker = &self.condition.breaker;
        self.turns(breaker.failed(began, Instant::now(), self.patience));
    }

    fn turns(&self, turned: Turned) {
        let endpoint = &*self.label;
        match turned {
            Turned::Not => {}
            Turned::Closed => tracing::info!(endpoint, "the endpoint answers again"),
            Turned::Open => {
                tracing::warn!(
                    endpoint,
                    "the endpoint keeps failing and is left out for a while"
                );
            }
        }
    }

    /// Takes what [`Endpoint::is_fit`] offers.
    pub(super) fn enters(&self, now: Instant) -> bool {
        self.condition.breaker.enter(now, self.patience)
    }

    /// Counts a request as running here until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.condition.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Requests in flight relative to the endpoint's share.
    pub(super) fn load(&self) -> f64 {
        self.condition.in_flight.load(Ordering::Relaxed) as f64 / f64::from(self.weight)
    }
}

/// A request running at an endpoint.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// Where it runs.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.condition.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;

    pub const PATIENCE: Patience = Patience {
        failures: 3,
        open: Duration::from_secs(60),
    };

    pub fn endpoint(host: &str, weight: u32) -> Arc<Endpoint> {
        let site = Site {
            url: BaseUrl::parse(&format!("http://{host}")).unwrap(),
            key: None,
            weight,
            model: None,
            by_name: None,
            probed: None,
            is_set: false,
            health: Arc::default(),
        };
        Arc::new(Endpoint::new("m", site, PATIENCE))
    }

    /// Fails until it is left out.
    pub fn put_down(endpoint: &Endpoint) {
        put_down_for(endpoint, endpoint.patience.open);
    }

    /// The same, and it stays so for this long.
    pub fn put_down_for(endpoint: &Endpoint, open: Duration) {
        let patience = Patience {
            open,
            ..endpoint.patience
        };
        for _ in 0..patience.failures {
            let now = Instant::now();
            let breaker = &endpoint.condition.breaker;
            breaker.failed(now, now, patience);
        }
    }

    #[test]
    fn a_request_counts_until_its_guard_is_dropped() {
        let one = endpoint("a", 2);
        let guards = (one.enter(), one.enter());
        assert_eq!(one.load(), 1.0);
        drop(guards);
        assert_eq!(one.load(), 0.0);
    }
}
