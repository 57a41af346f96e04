//! Leaves out an endpoint that keeps failing, and tries it again now and then.
//!
//! Failures are connections refused or reset and limits that passed; an answer, whatever its status, is none. Closed: requests
//! go there. Open: none do. Half open: one does, and what becomes of it decides ("Release It!", Nygard 2007, Circuit Breaker).
//! Time is an argument, so that tests need no clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// When an endpoint is left out, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Failures in a row that open the breaker.
    pub failures: u32,
    /// How long it stays open before one request tries again.
    pub open: Duration,
}

/// What changed with a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Nothing.
    Not,
    /// The endpoint is left out from now on.
    Open,
    /// It takes requests again.
    Closed,
}

/// The breaker of one endpoint.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    /// A trial under way is an open breaker too: when it is never heard of again, the next one comes after the same time.
    Open {
        until: Instant,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }
}

impl Breaker {
    /// True when a request may go there now.
    pub fn admits(&self, now: Instant) -> bool {
        match *self.state() {
            State::Closed { .. } => true,
            State::Open { until } => now >= until,
        }
    }

    /// Takes what [`Breaker::admits`] offers. Of several that ask at once, one gets the trial of an open breaker.
    pub fn enter(&self, now: Instant, patience: Patience) -> bool {
        let mut state = self.state();
        match &mut *state {
            State::Closed { .. } => true,
            State::Open { until } if now >= *until => {
                *until = now + patience.open;
                true
            }
            State::Open { .. } => false,
        }
    }

    /// The endpoint answered.
    pub fn succeeded(&self) -> Turned {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Closed { failures: 0 }) {
            State::Closed { .. } => Turned::Not,
            State::Open { .. } => Turned::Closed,
        }
    }

    /// The endpoint failed.
    pub fn failed(&self, now: Instant, patience: Patience) -> Turned {
        let mut state = self.state();
        let open = State::Open {
            until: now + patience.open,
        };
        match *state {
            State::Closed { failures } if failures + 1 < patience.failures => {
                *state = State::Closed {
                    failures: failures + 1,
                };
                Turned::Not
            }
            State::Closed { .. } => {
                *state = open;
                Turned::Open
            }
            State::Open { .. } => {
                *state = open;
                Turned::Not
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: Patience = Patience {
        failures: 3,
        open: SECOND,
    };

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_trial_that_went_well() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start, PATIENCE);
        breaker.failed(start, PATIENCE);
        assert_eq!(breaker.succeeded(), Turned::Not);
        breaker.failed(start, PATIENCE);
        breaker.failed(start, PATIENCE);
        assert!(breaker.admits(start), "not in a row");
        assert_eq!(breaker.failed(start, PATIENCE), Turned::Open);
        assert!(!breaker.admits(start + SECOND / 2));
        let later = start + SECOND;
        assert!(breaker.admits(later) && breaker.enter(later, PATIENCE));
        assert!(!breaker.enter(later, PATIENCE), "one trial at a time");
        assert_eq!(breaker.succeeded(), Turned::Closed);
        assert!(breaker.enter(later, PATIENCE) && breaker.enter(later, PATIENCE));
    }

    #[test]
    fn a_trial_that_fails_or_is_never_heard_of_is_followed_by_another() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..3 {
            breaker.failed(start, PATIENCE);
        }
        assert!(breaker.enter(start + SECOND, PATIENCE));
        assert_eq!(breaker.failed(start + SECOND, PATIENCE), Turned::Not);
        assert!(!breaker.admits(start + SECOND * 3 / 2));
        assert!(breaker.enter(start + SECOND * 2, PATIENCE)); // its client left
        assert!(!breaker.enter(start + SECOND * 5 / 2, PATIENCE));
        assert!(breaker.enter(start + SECOND * 3, PATIENCE));
    }

    proptest! {
        #[test]
        fn an_open_breaker_lets_one_request_through_in_its_time(steps in prop::collection::vec((0..3_u8, 0..400_u64), 0..200)) {
            let (breaker, mut now) = (Breaker::default(), Instant::now());
            let (mut in_a_row, mut last_trial): (u32, Option<Instant>) = (0, None);
            for (step, wait) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 => {
                        breaker.succeeded();
                        (in_a_row, last_trial) = (0, None);
                    }
                    1 => {
                        breaker.failed(now, PATIENCE);
                        in_a_row += 1;
                        if in_a_row >= PATIENCE.failures {
                            last_trial = Some(now);
                        }
                    }
                    _ => {
                        let (admits, entered) = (breaker.admits(now), breaker.enter(now, PATIENCE));
                        prop_assert_eq!(admits, entered);
                        let waited = last_trial.is_none_or(|last| now >= last + SECOND);
                        prop_assert_eq!(entered, in_a_row < PATIENCE.failures || waited);
                        if entered && in_a_row >= PATIENCE.failures {
                            last_trial = Some(now);
                        }
                    }
                }
            }
        }
    }
}
