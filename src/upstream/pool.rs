//! The endpoints of a model, and the choice between them.

use std::{sync::Arc, time::Instant};

use rand::{Rng, RngExt};

use super::Endpoint;

/// The endpoints of a model, and where a request stands among them.
#[derive(Debug, Clone, Copy)]
pub struct Pool<'a> {
    /// All there are.
    pub endpoints: &'a [Arc<Endpoint>],
    /// Those that this request was sent to.
    pub tried: &'a [Arc<Endpoint>],
    /// True when none of them answered, whatever it said.
    pub is_unanswered: bool,
}

impl<'a> Pool<'a> {
    /// Of the endpoints not yet tried, the less loaded of two drawn by weight ("The Power of Two Choices", Mitzenmacher 2001).
    /// Those that asked for a rest come after the others. Those that keep failing or are not well come last, and only for a
    /// request that nobody answered: it has nothing to lose, and an answer is as good as a trial.
    pub fn pick(self) -> Option<Arc<Endpoint>> {
        if let [only] = self.endpoints {
            return self.pick_only(only);
        }
        loop {
            let now = Instant::now(); // one for both questions: else a trial is offered and refused for ever
            let picked = self
                .pick_among(|endpoint| endpoint.is_fit(now))
                .or_else(|| self.pick_among(|endpoint| endpoint.is_up(now)));
            match picked {
                Some(endpoint) if endpoint.enters(now) => return Some(endpoint),
                Some(_) => {} // somebody else got the trial
                None if self.is_unanswered => return self.pick_among(|_| true),
                None => return None,
            }
        }
    }

    /// True when there is one to pick; takes nothing.
    pub fn has_another(self) -> bool {
        self.has_one_up() || self.is_unanswered && self.left().next().is_some()
    }

    /// True when there is one to pick that is not left out.
    pub fn has_one_up(self) -> bool {
        let now = Instant::now();
        self.left().any(|endpoint| endpoint.is_up(now))
    }

    fn left(self) -> impl Iterator<Item = &'a Arc<Endpoint>> {
        let is_tried = |endpoint: &&Arc<Endpoint>| {
            let mut tried = self.tried.iter();
            tried.any(|tried| Arc::ptr_eq(tried, endpoint))
        };
        self.endpoints
            .iter()
            .filter(move |endpoint| !is_tried(endpoint))
    }

    /// The same where there is no choice, as for most models.
    fn pick_only(self, only: &Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        let now = Instant::now();
        let is_left = self.tried.is_empty();
        let is_picked = is_left && (only.is_up(now) && only.enters(now) || self.is_unanswered);
        is_picked.then(|| only.clone())
    }

    fn pick_among(self, is_fit: impl Fn(&Endpoint) -> bool) -> Option<Arc<Endpoint>> {
        let left: Vec<&Arc<Endpoint>> = self.left().filter(|endpoint| is_fit(endpoint)).collect();
        if let [] | [_] = *left {
            return left.first().copied().cloned();
        }
        let mut rng = rand::rng();
        let (one, other) = (draw(&left, &mut rng)?, draw(&left, &mut rng)?);
        Some(if other.load() < one.load() {
            other.clone()
        } else {
            one.clone()
        })
    }
}

/// One of `endpoints`, by weight.
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
    use crate::upstream::endpoint::tests::{PATIENCE, endpoint, put_down, put_down_for};

    fn of<'a>(endpoints: &'a [Arc<Endpoint>], tried: &'a [Arc<Endpoint>]) -> Pool<'a> {
        Pool {
            endpoints,
            tried,
            is_unanswered: true,
        }
    }

    fn pick(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        of(endpoints, tried).pick()
    }

    #[test]
    fn an_endpoint_that_keeps_failing_is_left_out_unless_it_is_the_last() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        put_down(&all[0]);
        for _ in 0..50 {
            assert!(Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[1]));
        }
        let second = of(&all, &all[1..]);
        assert!(
            Arc::ptr_eq(&second.pick().unwrap(), &all[0]),
            "a last resort"
        );
        let answered = Pool {
            is_unanswered: false,
            ..second
        };
        assert!(answered.pick().is_none() && !answered.has_another());
        assert!(Arc::ptr_eq(&pick(&all[..1], &[]).unwrap(), &all[0]));
        all[0].answered(Instant::now());
        assert!((0..50).any(|_| Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[0])));
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
    fn one_that_rests_is_better_than_one_that_is_dead() {
        let all = [endpoint("dead", 1), endpoint("resting", 1)];
        put_down(&all[0]);
        all[1].rest(PATIENCE.open);
        for _ in 0..50 {
            assert!(Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[1]));
        }
        assert!(Arc::ptr_eq(&pick(&all, &all[..1]).unwrap(), &all[1]));
    }

    #[test]
    fn to_know_whether_there_is_another_takes_no_trial() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let shortly = Duration::from_millis(300);
        put_down_for(&all[1], shortly);
        sleep(shortly);
        let answered = Pool {
            is_unanswered: false,
            ..of(&all, &all[..1])
        };
        assert!(answered.has_another() && answered.has_another());
        assert!(answered.pick().is_some());
        assert!(!answered.has_another(), "one at a time");
    }
}
