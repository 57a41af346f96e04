//! Picks an endpoint for a request.

use std::{sync::Arc, time::Instant};

use rand::{Rng, RngExt};

use super::endpoint::Endpoint;

/// The endpoints of a model, and what one request has tried of them.
#[derive(Debug, Clone, Copy)]
pub struct Candidates<'a> {
    /// All endpoints of the model.
    pub endpoints: &'a [Arc<Endpoint>],
    /// The endpoints that this request was sent to.
    pub tried: &'a [Arc<Endpoint>],
    /// True if none of them answered with any status.
    pub is_unanswered: bool,
}

impl<'a> Candidates<'a> {
    /// The less loaded of two untried endpoints drawn by weight ("The Power of Two Choices", Mitzenmacher 2001).
    ///
    /// Endpoints that cool down come after the others. Endpoints that are ejected or unhealthy come last, and only for a request
    /// without any answer: it has nothing to lose, and a success is as good as a trial.
    pub fn pick(self) -> Option<Arc<Endpoint>> {
        if let [only] = self.endpoints {
            return self.pick_only(only);
        }
        loop {
            let now = Instant::now(); // one time for `is_up` and `try_admit`: otherwise a trial could be offered and denied for ever
            let picked = self
                .pick_among(|endpoint| endpoint.is_ready(now))
                .or_else(|| self.pick_among(|endpoint| endpoint.is_up(now)));
            match picked {
                Some(endpoint) if endpoint.try_admit(now) => return Some(endpoint),
                Some(_) => {} // another request took the trial
                None if self.is_unanswered => return self.pick_among(|_| true),
                None => return None,
            }
        }
    }

    /// True if [`Candidates::pick`] would find an endpoint. Takes no trial.
    pub fn has_another(self) -> bool {
        self.has_up() || self.is_unanswered && self.untried().next().is_some()
    }

    /// True if there is an untried endpoint that is neither ejected nor unhealthy.
    pub fn has_up(self) -> bool {
        let now = Instant::now();
        self.untried().any(|endpoint| endpoint.is_up(now))
    }

    fn untried(self) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        let is_tried = |endpoint: &&Arc<Endpoint>| {
            let mut tried = self.tried.iter();
            tried.any(|tried| Arc::ptr_eq(tried, endpoint))
        };
        self.endpoints
            .iter()
            .filter(move |endpoint| !is_tried(endpoint))
    }

    /// [`Candidates::pick`] for a model with one endpoint, as most are.
    fn pick_only(self, only: &Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        let now = Instant::now();
        let is_untried = self.tried.is_empty();
        let is_picked =
            is_untried && (only.is_up(now) && only.try_admit(now) || self.is_unanswered);
        is_picked.then(|| only.clone())
    }

    fn pick_among(self, is_candidate: impl Fn(&Endpoint) -> bool) -> Option<Arc<Endpoint>> {
        let candidates = self.untried().filter(|endpoint| is_candidate(endpoint));
        let candidates: Vec<&Arc<Endpoint>> = candidates.collect();
        if let [] | [_] = *candidates {
            return candidates.first().copied().cloned();
        }
        let mut rng = rand::rng();
        let (one, other) = (draw(&candidates, &mut rng)?, draw(&candidates, &mut rng)?);
        Some(if other.load() < one.load() {
            other.clone()
        } else {
            one.clone()
        })
    }
}

/// Draws one of `endpoints` by weight.
fn draw<'e>(endpoints: &[&'e Arc<Endpoint>], rng: &mut impl Rng) -> Option<&'e Arc<Endpoint>> {
    let weights = endpoints.iter().map(|endpoint| u64::from(endpoint.weight));
    let total: u64 = weights.sum();
    let mut at = rng.random_range(0..total.max(1)); // an empty range would panic
    endpoints.iter().copied().find(|endpoint| {
        let weight = u64::from(endpoint.weight);
        let is_here = at < weight;
        at = at.saturating_sub(weight);
        is_here
    })
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Duration};

    use super::*;
    use crate::upstream::balance::endpoint::tests::{CONFIG, endpoint, trip, trip_for};

    fn candidates<'a>(
        endpoints: &'a [Arc<Endpoint>],
        tried: &'a [Arc<Endpoint>],
    ) -> Candidates<'a> {
        Candidates {
            endpoints,
            tried,
            is_unanswered: true,
        }
    }

    fn pick(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        candidates(endpoints, tried).pick()
    }

    #[test]
    fn an_ejected_endpoint_is_not_picked_unless_it_is_the_last() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        trip(&all[0]);
        for _ in 0..50 {
            assert!(Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[1]));
        }
        let second = candidates(&all, &all[1..]);
        assert!(
            Arc::ptr_eq(&second.pick().unwrap(), &all[0]),
            "a last resort"
        );
        let answered = Candidates {
            is_unanswered: false,
            ..second
        };
        assert!(answered.pick().is_none() && !answered.has_another());
        assert!(Arc::ptr_eq(&pick(&all[..1], &[]).unwrap(), &all[0]));
        all[0].on_complete(Instant::now());
        assert!((0..50).any(|_| Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[0])));
    }

    #[test]
    fn the_less_loaded_of_two_is_picked_and_tried_ones_are_not() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let _busy = all[0].begin_request();
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
    fn a_cooling_endpoint_is_better_than_an_ejected_one() {
        let all = [endpoint("ejected", 1), endpoint("cooling", 1)];
        trip(&all[0]);
        all[1].cool_down(CONFIG.open);
        for _ in 0..50 {
            assert!(Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[1]));
        }
        assert!(Arc::ptr_eq(&pick(&all, &all[..1]).unwrap(), &all[1]));
    }

    #[test]
    fn has_another_takes_no_trial() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let shortly = Duration::from_millis(300);
        trip_for(&all[1], shortly);
        sleep(shortly);
        let answered = Candidates {
            is_unanswered: false,
            ..candidates(&all, &all[..1])
        };
        assert!(answered.has_another() && answered.has_another());
        assert!(answered.pick().is_some());
        assert!(!answered.has_another(), "one at a time");
    }
}
