//! When to probe a model again whose probe failed.

use std::collections::BTreeMap;

/// The longest pause between two probes of a model, in polls: five minutes at the default of 5 seconds per poll.
const MAX_PAUSE: u32 = 64;

/// The models of one server that still have to be probed. Time is counted in polls of the server's model list.
#[derive(Debug, Default)]
pub struct ProbeBackoff(BTreeMap<String, Pending>);

#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    /// Polls to skip before the next probe.
    pause: u32,
    /// Failed probes so far.
    failures: u32,
}

impl ProbeBackoff {
    /// True if no model has to be probed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a model, to be probed after the next poll.
    pub fn add(&mut self, model: &str) {
        self.0.insert(model.to_owned(), Pending::default());
    }

    /// Removes the models for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|model, _| keep(model));
    }

    /// Advances by one poll and returns the models that are due. Those with the fewest failures come first, so that one that never
    /// answers does not keep the others from being probed.
    pub fn next_due(&mut self) -> Vec<String> {
        let mut due: Vec<(u32, &String)> = Vec::new();
        for (model, pending) in &mut self.0 {
            match pending.pause.checked_sub(1) {
                Some(left) => pending.pause = left,
                None => due.push((pending.failures, model)),
            }
        }
        due.sort();
        due.into_iter().map(|(_, model)| model.clone()).collect()
    }

    /// Removes a model whose probe was answered.
    pub fn on_answer(&mut self, model: &str) {
        self.0.remove(model);
    }

    /// Delays a model whose probe failed: by one poll, then two, four and so on. Returns true for its first failure.
    pub fn on_failure(&mut self, model: &str) -> bool {
        let Some(pending) = self.0.get_mut(model) else {
            return false;
        };
        pending.pause = 2_u32.saturating_pow(pending.failures).min(MAX_PAUSE) - 1;
        pending.failures += 1;
        pending.failures == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_model_is_probed_less_and_less_often_but_for_ever() {
        let mut backoff = ProbeBackoff::default();
        backoff.add("m");
        let mut probed = Vec::new();
        for poll in 0..400 {
            if !backoff.next_due().is_empty() {
                probed.push(poll);
                assert_eq!(backoff.on_failure("m"), poll == 0);
            }
        }
        assert_eq!(probed, [0, 1, 3, 7, 15, 31, 63, 127, 191, 255, 319, 383]);
        backoff.on_answer("m");
        assert!(backoff.is_empty());
    }

    #[test]
    fn the_model_with_the_fewest_failures_is_probed_first() {
        let mut backoff = ProbeBackoff::default();
        for model in ["a", "b", "c", "gone"] {
            backoff.add(model);
        }
        backoff.retain(|model| model != "gone");
        backoff.on_failure("a");
        assert_eq!(backoff.next_due(), ["b", "c", "a"]);
    }
}
