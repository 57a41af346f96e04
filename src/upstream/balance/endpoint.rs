//! One model at one server: its address, its switch, its load, and whether it may get requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::HeaderValue;
use parking_lot::Mutex;
use url::Url;

use super::{
    breaker::{Breaker, BreakerConfig, Transition},
    health::Health,
};
use crate::{
    api::{CHAT, url_as_written},
    config::BaseUrl,
    error::Error,
    routing::Family,
    upstream::probe::{DivergesAt, ProbeFindings},
};

/// The longest cool-down that a server can ask for. A longer one may be a mistake, so the endpoint is tried again after this time.
const MAX_COOL_DOWN: Duration = Duration::from_secs(60);

/// One model at one server.
#[derive(Debug)]
pub struct Endpoint {
    /// The server's address.
    pub url: BaseUrl,
    /// The model's name at the server; `None` if it is the same as at the gateway.
    pub model: Option<String>,
    /// The model's name at the server as a header value; `None` if it cannot be one.
    pub model_header: Option<HeaderValue>,
    /// The family whose switch is used here. Two endpoints of one model may have different ones.
    pub family: Option<&'static Family>,
    /// The family by the operator's word or the model's name, before a probe.
    pub expected_family: Option<&'static Family>,
    /// What a probe found out about the switch.
    pub probed: Option<ProbeFindings>,
    /// The address as a metrics label, shared by every record that names it.
    pub url_label: Arc<str>,
    /// Where chat requests go, which are the most frequent.
    chat_url: Option<Url>,
    key: Option<HeaderValue>,
    pub(super) weight: u32,
    breaker_config: BreakerConfig,
    health: Arc<Health>,
    state: Arc<EndpointState>,
}

/// What an endpoint is built from: the configuration, the server's model list and a probe.
#[derive(Debug)]
pub struct EndpointSpec {
    /// The server's address.
    pub url: BaseUrl,
    /// The `Authorization` value for the server, if it needs a key.
    pub key: Option<HeaderValue>,
    /// The endpoint's share of the requests, relative to the model's other endpoints.
    pub weight: u32,
    /// The model's name at the server; `None` if it is the same as at the gateway.
    pub model: Option<String>,
    /// The family by the operator's word or the model's name.
    pub expected_family: Option<&'static Family>,
    /// What a probe found out about the switch.
    pub probed: Option<ProbeFindings>,
    /// True if the operator configured the family; it then counts more than the probe.
    pub is_family_configured: bool,
    /// The server's health, shared by all its endpoints.
    pub health: Arc<Health>,
}

/// What past requests showed about an endpoint. It survives a rebuild of the catalog.
#[derive(Debug, Default)]
struct EndpointState {
    in_flight: AtomicUsize,
    breaker: Breaker,
    /// The family whose switch the server rejected.
    rejected: Mutex<Option<&'static Family>>,
    /// When the cool-down that the server asked for ends.
    cool_until: Mutex<Option<Instant>>,
}

impl Endpoint {
    /// A new endpoint for the model that the gateway calls `name`.
    pub fn new(name: &str, spec: EndpointSpec, breaker_config: BreakerConfig) -> Self {
        let served_name = spec.model.as_deref().unwrap_or(name);
        Self {
            model_header: HeaderValue::try_from(served_name).ok(),
            chat_url: url_as_written(&spec.url.join(CHAT)),
            url_label: spec.url.as_str().into(),
            url: spec.url,
            model: spec.model,
            family: match spec.probed {
                Some(probed) if !spec.is_family_configured => Some(probed.family),
                _ => spec.expected_family,
            },
            expected_family: spec.expected_family,
            probed: spec.probed,
            key: spec.key,
            weight: spec.weight,
            breaker_config,
            health: spec.health,
            state: Arc::default(),
        }
    }

    /// Shares the state of the same endpoint in the catalog before, if there was one.
    pub fn with_state_of(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before {
            self.state = before.state.clone();
        }
        self
    }

    /// True if this is the same model at the same server.
    pub fn matches(&self, url: &BaseUrl, model: Option<&str>) -> bool {
        self.url == *url && self.model.as_deref() == model
    }

    /// True if the endpoint is up and is not cooling down.
    pub fn is_ready(&self, now: Instant) -> bool {
        self.is_up(now) && !self.is_cooling_down(now)
    }

    /// True if the server is healthy and the breaker admits a request.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        self.health.may_serve() && self.state.breaker.admits(now)
    }

    /// True if the server is healthy by its checks, where it `is_checked`, and by the last requests.
    pub fn is_healthy(&self, is_checked: bool, now: Instant) -> bool {
        (self.health.is_healthy() || !is_checked) && self.is_up(now)
    }

    /// Prefers other endpoints for this time, because the server asked for it (`Retry-After`).
    pub fn cool_down(&self, time: Duration) {
        *self.state.cool_until.lock() = Some(Instant::now() + time.min(MAX_COOL_DOWN));
    }

    fn is_cooling_down(&self, now: Instant) -> bool {
        let mut until = self.state.cool_until.lock();
        let is_cooling_down = until.is_some_and(|until| now < until);
        if !is_cooling_down {
            *until = None;
        }
        is_cooling_down
    }

    /// What about the model's switch would surprise an operator, in words for the log.
    pub fn mismatch_warning(&self) -> Option<String> {
        let probed = self.probed?;
        let family = probed.family.id;
        let expected = self.expected_family.map_or("unknown", |family| family.id);
        let is_probed = |family: &Family| std::ptr::eq(family, probed.family);
        let is_as_expected = self.expected_family.is_some_and(is_probed);
        let is_used = self.family.is_some_and(is_probed);
        match (is_as_expected, is_used, probed.diverges_at) {
            (false, true, _) => Some(format!(
                "by its name it would be `{expected}`, but its chat template switches like `{family}`, which is what it gets"
            )),
            (false, false, _) => Some(format!(
                "`family: {expected}` is configured and used, but its chat template switches like `{family}`"
            )),
            (true, _, Some(DivergesAt::Head)) => Some(format!(
                "`{family}` changes the head of the prompt: a change of mode within a conversation loses its whole prefix cache"
            )),
            _ => None,
        }
    }

    /// The `Authorization` value for the server, if it has a key of its own.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// Where a request goes. `path` begins with a slash and may carry a query.
    ///
    /// # Errors
    /// A 400 if a URL would change the path in more than percent-encoding: what may pass was decided on the path as it is.
    pub fn target(&self, path: &str) -> Result<Url, Error> {
        if let Some(url) = &self.chat_url
            && path == CHAT
        {
            return Ok(url.clone());
        }
        url_as_written(&self.url.join(path))
            .ok_or_else(|| Error::invalid("The path would be sent as another path."))
    }

    /// True if the server has rejected the switch that we would send. Nothing is known of another switch, after the configuration
    /// or a probe has changed the family.
    pub fn rejects_switch(&self) -> bool {
        let rejected = *self.state.rejected.lock();
        let both = rejected.zip(self.family);
        both.is_some_and(|(rejected, family)| std::ptr::eq(rejected, family))
    }

    /// Remembers that the server rejects our switch, so that later requests come without it.
    pub fn remember_switch_rejection(&self) {
        *self.state.rejected.lock() = self.family;
    }

    /// Forgets the rejection, because the server may have restarted with other flags.
    pub fn forget_switch_rejection(&self) {
        *self.state.rejected.lock() = None;
    }

    /// Records a complete answer, of any status, to a request that was sent at `sent`.
    pub fn on_complete(&self, sent: Instant) {
        self.log_transition(self.state.breaker.succeeded(sent));
    }

    /// Records the first byte of an answer's body.
    pub fn on_first_byte(&self, sent: Instant) {
        self.log_transition(self.state.breaker.first_byte(sent, self.breaker_config));
    }

    /// Records that the server was unreachable, or did not answer a request to the end.
    pub fn on_failure(&self, sent: Instant) {
        let breaker = &self.state.breaker;
        self.log_transition(breaker.failed(sent, Instant::now(), self.breaker_config));
    }

    fn log_transition(&self, transition: Transition) {
        let endpoint = &*self.url_label;
        match transition {
            Transition::None => {}
            Transition::Closed => tracing::info!(endpoint, "the endpoint answers again"),
            Transition::Opened => {
                tracing::warn!(
                    endpoint,
                    "the endpoint keeps failing and is left out for a while"
                );
            }
        }
    }

    /// Takes the place that [`Endpoint::is_up`] offered. Returns false if another request took an ejected endpoint's trial first.
    pub(super) fn try_admit(&self, now: Instant) -> bool {
        self.state.breaker.try_admit(now, self.breaker_config)
    }

    /// Counts a request as running here until the guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> InFlight {
        self.state.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Requests in flight divided by the weight.
    pub(super) fn load(&self) -> f64 {
        self.state.in_flight.load(Ordering::Relaxed) as f64 / f64::from(self.weight)
    }
}

/// Counts a request as running at an endpoint until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl InFlight {
    /// The endpoint that the request runs at.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;

    pub const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        open: Duration::from_secs(60),
    };

    pub fn endpoint(host: &str, weight: u32) -> Arc<Endpoint> {
        let spec = EndpointSpec {
            url: BaseUrl::parse(&format!("http://{host}")).unwrap(),
            key: None,
            weight,
            model: None,
            expected_family: None,
            probed: None,
            is_family_configured: false,
            health: Arc::default(),
        };
        Arc::new(Endpoint::new("m", spec, CONFIG))
    }

    /// Fails until the endpoint is ejected.
    pub fn trip(endpoint: &Endpoint) {
        trip_for(endpoint, endpoint.breaker_config.open);
    }

    /// The same, for `open`.
    pub fn trip_for(endpoint: &Endpoint, open: Duration) {
        let config = BreakerConfig {
            open,
            ..endpoint.breaker_config
        };
        for _ in 0..config.failures {
            let now = Instant::now();
            let breaker = &endpoint.state.breaker;
            breaker.failed(now, now, config);
        }
    }

    #[test]
    fn a_request_counts_until_its_guard_is_dropped() {
        let one = endpoint("a", 2);
        let guards = (one.begin_request(), one.begin_request());
        assert_eq!(one.load(), 1.0);
        drop(guards);
        assert_eq!(one.load(), 0.0);
    }
}
