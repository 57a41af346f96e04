//! One server that has a model, and the choice between several.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::HeaderValue;
use rand::seq::IndexedRandom;
use url::Url;

use crate::{
    config::{BaseUrl, Revealed},
    error::Error,
    routing::Family,
};

/// The path of chat requests.
const CHAT: &str = "/v1/chat/completions";

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
    in_flight: AtomicUsize,
    refuses: AtomicBool,
}

impl Endpoint {
    /// An endpoint with its key, its share of the requests, and what is known of the model there.
    pub fn new(
        url: BaseUrl,
        key: Option<&Revealed>,
        weight: u32,
        model: Option<String>,
        family: Option<&'static Family>,
    ) -> Self {
        let label = url.as_str().into();
        Self {
            chat: Url::parse(&url.join(CHAT)).ok(),
            url,
            model,
            family,
            label,
            key: key.and_then(bearer),
            weight,
            in_flight: AtomicUsize::new(0),
            refuses: AtomicBool::new(false),
        }
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

    /// Counts a request as running here until the guard is dropped.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }

    /// Requests in flight relative to the endpoint's share.
    fn load(&self) -> f64 {
        self.in_flight.load(Ordering::Relaxed) as f64 / f64::from(self.weight)
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
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of the endpoints not yet tried, the less loaded of two drawn by weight ("The Power of Two Choices", Mitzenmacher 2001).
pub fn pick(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    let is_tried =
        |endpoint: &&Arc<Endpoint>| tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint));
    let left: Vec<&Arc<Endpoint>> = endpoints
        .iter()
        .filter(|endpoint| !is_tried(endpoint))
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
    use super::*;

    fn endpoint(host: &str, weight: u32) -> Arc<Endpoint> {
        Arc::new(Endpoint::new(
            BaseUrl::parse(&format!("http://{host}")).unwrap(),
            None,
            weight,
            None,
            None,
        ))
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
