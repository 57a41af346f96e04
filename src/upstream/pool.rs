//! The endpoints of a model, and the choice between them.

use std::{sync::Arc, time::Instant};

use rand::seq::IndexedRandom;

use super::Endpoint;

/// Of the endpoints not yet tried, the less loaded of two drawn by weight ("The Power of Two Choices", Mitzenmacher 2001).
/// Those that keep failing or are not well are left out, unless there is no other to begin with; those that asked for a rest,
/// unless all others are left out.
pub fn pick(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    loop {
        let now = Instant::now(); // one for both questions: else a trial is offered and refused for ever
        let picked = pick_among(endpoints, tried, |endpoint| endpoint.is_fit(now))
            .or_else(|| pick_among(endpoints, tried, |endpoint| endpoint.is_up(now)));
        match picked {
            Some(endpoint) if endpoint.enters(now) => return Some(endpoint),
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
    use super::*;
    use crate::upstream::endpoint::tests::{PATIENCE, endpoint};

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
        for _ in 0..PATIENCE.failures {
            all[0].failed();
        }
        all[1].rest(PATIENCE.open);
        for _ in 0..50 {
            assert!(Arc::ptr_eq(&pick(&all, &[]).unwrap(), &all[1]));
        }
        assert!(Arc::ptr_eq(&pick(&all, &all[..1]).unwrap(), &all[1]));
    }
}
