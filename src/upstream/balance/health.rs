//! Whether a server is healthy, as its health checks say.
//!
//! The verdict changes only after several equal results in a row, so that one lost packet does not change it (as the thresholds of
//! pingora's load balancer and of Kubernetes' probes). A server that was never checked counts as healthy.

use std::num::NonZeroU32;

use parking_lot::Mutex;

/// The verdict on one server, shared by its endpoints.
#[derive(Debug)]
pub struct Health(Mutex<Verdict>);

#[derive(Debug, Clone, Copy)]
struct Verdict {
    is_healthy: bool,
    /// Consecutive results that contradict the verdict.
    contradictions: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(Verdict {
            is_healthy: true,
            contradictions: 0,
        }))
    }
}

impl Health {
    /// The current verdict.
    pub fn is_healthy(&self) -> bool {
        self.0.lock().is_healthy
    }

    /// Records the result of one check. Returns the new verdict if this result changed it. `threshold`: how many consecutive
    /// results change the verdict.
    pub fn observe(&self, is_healthy: bool, threshold: NonZeroU32) -> Option<bool> {
        let mut verdict = self.0.lock();
        if verdict.is_healthy == is_healthy {
            verdict.contradictions = 0;
            return None;
        }
        verdict.contradictions += 1;
        let changes = verdict.contradictions >= threshold.get();
        if changes {
            *verdict = Verdict {
                is_healthy,
                contradictions: 0,
            };
        }
        changes.then_some(is_healthy)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_consecutive_results_up_to_the_threshold_change_the_verdict(results in prop::collection::vec(any::<bool>(), 0..60), threshold in 1..5_u32) {
            let (health, threshold) = (Health::default(), NonZeroU32::new(threshold).unwrap());
            let mut verdict = true;
            for end in 1..=results.len() {
                let latest = results[end - 1];
                let changed = health.observe(latest, threshold);
                let in_a_row = results[..end].iter().rev().take_while(|result| **result == latest).count();
                let changes = latest != verdict && in_a_row >= threshold.get() as usize;
                prop_assert_eq!(changed, changes.then_some(latest));
                if changes {
                    verdict = latest;
                }
                prop_assert_eq!(health.is_healthy(), verdict);
            }
        }
    }
}
