//! One server that has a model, and the choice between several.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use http::HeaderValue;
use rand::seq::IndexedRandom;
use url::Url;

use super::breaker::{Breaker, Patience, Turned};
use crate::{
    config::{BaseUrl, Revealed},
    error::Error,
    openai::CHAT,
    routing::Family,
};

/// One server that has a model.
#[derive(Debug)]
pub struct Endpoint {
    /// Its address.
    pub url: BaseUrl,
    /// The model's name there, when it is another than here.
    pub model: Option<String>,
    /// How the model switches there; two endpoints of one model may obey different switches.
    pub family: Option<&'static Family>,
    /// The address as a label, shared by every record that names it.
    pub label: Arc<str>,
    /// Where chat requests go, which are most.
    chat: Option<Url>,
    key: Option<HeaderValue>,
    weight: u32,
    refuses: AtomicBool,
    condition: Arc<Condition>,
}

/// What is said of an endpoint where it is configured or listed.
#[derive(Debug)]
pub struct Site {
    /// Its address.
    pub url: BaseUrl,
    /// Its key.
    pub key: Option<Revealed>,
    /// Its share of the requests.
    pub weight: u32,
    /// The model's name there, when it is another than here.
    pub model: Option<String>,
    /// How the model switches there.
    pub family: Option<&'static Family>,
}

/// What is known of a server from the requests it was sent; outlives a change of its list of models.
#[derive(Debug)]
struct Condition {
    in_flight: AtomicUsize,
    breaker: Breaker,
}

impl Endpoint {
    /// An endpoint of which nothing has been asked yet.
    pub fn new(site: Site, patience: Patience) -> Self {
        Self {
            chat: Url::parse(&site.url.join(CHAT)).ok(),
            label: site.url.as_str().into(),
            url: site.url,
            model: site.model,
            family: site.family,
            key: site.key.as_ref().and_then(bearer),
            weight: site.weight,
            refuses: AtomicBool::new(false),
            condition: Arc::new(Condition {
                in_flight: AtomicUsize::new(0),
                breaker: Breaker::new(patience),
            }),
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

    /// True unless it keeps failing.
    pub(super) fn is_fit(&self) -> bool {
        self.condition.breaker.admits(Instant::now())
    }

    /// The `Authorization` this endpoint wants, when it has a key of its own.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.key.as_ref()
    }

    /// The URL of `path` here, which begins with a slash and may carry a query.
    ///
    /// # Errors
    /// A 400 when the path makes no URL.
    pub(super) fn at(&self, path: &str) -> Result<Url, Error> {
        match &self.chat {
            Some(chat) if path == CHAT => Ok(chat.clone()),
            _ => Url::parse(&self.url.join(path))
                .map_err(|_| Error::invalid("The path makes no URL.")),
        }
    }

    /// True when the server took a request only without our switch.
    pub fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Remembers that the server takes requests only without our switch.
    pub(super) fn remember_refusal(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// The server answered, whatever it said.
    pub(super) fn answered(&self) {
        if self.condition.breaker.succeeded() == Turned::Closed {
            tracing::info!(endpoint = &*self.label, "the endpoint answers again");
        }
    }

    /// The server could not be reached, or did not answer to the end or in time.
    pub(super) fn failed(&self) {
        if self.condition.breaker.failed(Instant::now()) == Turned::Open {
            tracing::warn!(
                endpoint = &*self.label,
                "the endpoint keeps failing and is left out for a while"
            );
        }
    }

    /// Counts a request as running here until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.condition.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Requests in flight relative to the endpoint's share.
    fn load(&self) -> f64 {
        self.condition.in_flight.load(Ordering::Relaxed) as f64 / f64::from(self.weight)
    }
}

/// `Bearer KEY`, marked so that it never prints.
pub fn bearer(key: &Revealed) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
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

/// Of the endpoints not yet tried, the less loaded of two drawn by weight ("The Power of Two Choices", Mitzenmacher 2001).
/// Those that keep failing are left out, unless there is no other to begin with.
pub fn pick(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    let now = Instant::now();
    loop {
        let picked = pick_among(endpoints, tried, Endpoint::is_fit);
        match picked {
            Some(endpoint) if endpoint.condition.breaker.enter(now) => return Some(endpoint),
            Some(_) => {} // somebody else got the trial
            None if tried.is_empty() => return pick_among(endpoints, tried, |_| true),
            None => return None,
        }
    }
}

fn pick_among(
    endpoints: &[Arc<Endpoint>],
    tried: &[Arc<Endpoint>],
    is_fit: impl Fn(&Endpoint) -> bool,
) -> Option<Arc<Endpoint>> {
    let is_tried =
        |endpoint: &&Arc<Endpoint>| tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint));
    let left: Vec<&Arc<Endpoint>> = endpoints
        .iter()
        .filter(|endpoint| !is_tried(endpoint) && is_fit(endpoint))
        .collect();
    let mut rng = rand::rng();
    let mut draw = || {
        left.choose_weighted(&mut rng, |endpoint| endpoint.weight)
            .ok()
            .copied()
    };
    let (one, other) = (draw()?, draw()?);
    Some(if other.load() < one.load() {
        other.clone()
    } else {
        one.clone()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_endpoint_that_keeps_failing_is_left_out_unless_it_is_the_last() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        for _ in 0..PATIENCE.failures {
            all[0].failed();
        }
        for _ in 0..50 {
            assert!(Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[1]));
        }
        assert!(
            pick(&all, &all[1..]).is_none(),
            "no use in trying it second"
        );
        assert!(Arc::ptr_eq(&pick(&all[..1], &[]).unwrap(), &all[0]));
        all[0].answered();
        assert!((0..50).any(|_| Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[0])));
    }

    const PATIENCE: Patience = Patience {
        failures: 3,
        open: Duration::from_secs(60),
    };

    fn endpoint(host: &str, weight: u32) -> Arc<Endpoint> {
        let site = Site {
            url: BaseUrl::parse(&format!("http://{host}")).unwrap(),
            key: None,
            weight,
            model: None,
            family: None,
        };
        Arc::new(Endpoint::new(site, PATIENCE))
    }

    #[test]
    fn the_less_loaded_of_two_is_taken_and_the_tried_are_not() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let _busy = all[0].enter();
        let busy = (0..400)
            .filter(|_| Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[0]))
            .count();
        assert!(
            (50..150).contains(&busy),
            "a quarter draws the busy one twice: {busy} of 400"
        );
        assert!(Arc::ptr_eq(&pick(&all, &all[1..]).unwrap(), &all[0]));
        assert!(pick(&all, &all).is_none());
        assert!(pick(&[], &[]).is_none());
    }

    #[test]
    fn idle_endpoints_share_by_weight() {
        let all = [endpoint("a", 3), endpoint("b", 1)];
        let first = (0..400)
            .filter(|_| Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[0]))
            .count();
        assert!((250..350).contains(&first), "{first} of 400");
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
