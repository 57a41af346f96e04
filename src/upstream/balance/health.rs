//! Whether a server is healthy, as its health checks say.
//!
//! The verdict changes only after several equal results in a row, so that one lost packet does not change it (as the thresholds of
//! pingora's load balancer and of Kubernetes' probes). A server that never answered is not healthy: nothing says that it is there. It
//! may still get requests until several checks in a row have failed, as the first check may come after the first request; and its
//! first answer makes it healthy at once.

use std::num::NonZeroU32;

use parking_lot::Mutex;

/// The verdict on one server, shared by its endpoints.
#[derive(Debug)]
pub struct Health(Mutex<Verdict>);

#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// True if it may get requests.
    may_serve: bool,
    has_answered: bool,
    /// Consecutive results that contradict the verdict.
    contradictions: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(Verdict {
            may_serve: true,
            has_answered: false,
            contradictions: 0,
        }))
    }
}

impl Health {
    /// True if the server has answered a check, and no several checks in a row have failed since.
    pub fn is_healthy(&self) -> bool {
        let verdict = self.0.lock();
        verdict.may_serve && verdict.has_answered
    }

    /// True if the server may get requests: it is healthy, or few checks of it have failed yet.
    pub fn may_serve(&self) -> bool {
        self.0.lock().may_serve
    }

    /// Records the result of one check. Returns whether it may get requests now, if this result changed that. `threshold`: how many
    /// consecutive results change the verdict.
    pub fn observe(&self, is_healthy: bool, threshold: NonZeroU32) -> Option<bool> {
        let mut verdict = self.0.lock();
        let is_first_answer = is_healthy && !verdict.has_answered;
        verdict.has_answered |= is_healthy;
        if verdict.may_serve == is_healthy {
            verdict.contradictions = 0;
            return None;
        }
        verdict.contradictions += 1;
        let changes = is_first_answer || verdict.contradictions >= threshold.get();
        if changes {
            verdict.may_serve = is_healthy;
            verdict.contradictions = 0;
        }
        changes.then_some(is_healthy)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_server_that_never_answered_is_not_healthy_and_its_first_answer_makes_it_so() {
        let (health, threshold) = (Health::default(), const { NonZeroU32::new(3).unwrap() });
        assert!(!health.is_healthy() && health.may_serve());
        assert_eq!(health.observe(true, threshold), None);
        assert!(health.is_healthy());
        let health = Health::default();
        let verdicts = [false, false, false, true].map(|result| health.observe(result, threshold));
        assert_eq!(verdicts, [None, None, Some(false), Some(true)]);
        assert!(health.is_healthy());
    }

    proptest! {
        #[test]
        fn only_consecutive_results_up_to_the_threshold_change_the_verdict(results in prop::collection::vec(any::<bool>(), 0..60), threshold in 1..5_u32) {
            let (health, threshold) = (Health::default(), NonZeroU32::new(threshold).unwrap());
            let mut verdict = true;
            let mut answered = false;
            for end in 1..=results.len() {
                let latest = results[end - 1];
                let changed = health.observe(latest, threshold);
                let in_a_row = results[..end].iter().rev().take_while(|result| **result == latest).count();
                let is_first_answer = latest && !answered;
                answered |= latest;
                let changes = latest != verdict && (is_first_answer || in_a_row >= threshold.get() as usize);
                prop_assert_eq!(changed, changes.then_some(latest));
                if changes {
                    verdict = latest;
                }
                prop_assert_eq!(health.may_serve(), verdict);
                prop_assert_eq!(health.is_healthy(), verdict && answered);
            }
        }
    }
}
