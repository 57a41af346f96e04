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

/// Failures that come as close as this and were under way together have one cause: a path that was cut breaks every stream on it.
const TOGETHER: Duration = Duration::from_millis(50);

/// The breaker of one endpoint.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
        /// When the latest of them was counted.
        latest: Option<Instant>,
    },
    /// A trial under way is an open breaker too: when it is never heard of again, the next one comes after the same time.
    Open { until: Instant },
}

const WELL: State = State::Closed {
    failures: 0,
    latest: None,
};

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: Mutex::new(WELL),
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
        match std::mem::replace(&mut *state, WELL) {
            State::Closed { .. } => Turned::Not,
            State::Open { .. } => Turned::Closed,
        }
    }

    /// The endpoint failed a request that it was given at `began`; `None`: some time ago, it had begun to answer. One that was
    /// under way when the latest failure was counted, and fails right behind it, is the same failure.
    pub fn failed(&self, began: Option<Instant>, now: Instant, patience: Patience) -> Turned {
        let mut state = self.state();
        let open = State::Open {
            until: now + patience.open,
        };
        match *state {
            State::Closed {
                latest: Some(latest),
                ..
            } if now < latest + TOGETHER && began.is_none_or(|began| began < latest) => Turned::Not,
            State::Closed { failures, .. } if failures + 1 < patience.failures => {
                *state = State::Closed {
                    failures: failures + 1,
                    latest: Some(now),
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
        breaker.failed(Some(start), start, PATIENCE);
        breaker.failed(Some(start), start, PATIENCE);
        assert_eq!(breaker.succeeded(), Turned::Not);
        breaker.failed(Some(start), start, PATIENCE);
        breaker.failed(Some(start), start, PATIENCE);
        assert!(breaker.admits(start), "not in a row");
        assert_eq!(breaker.failed(Some(start), start, PATIENCE), Turned::Open);
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
            breaker.failed(Some(start), start, PATIENCE);
        }
        assert!(breaker.enter(start + SECOND, PATIENCE));
        assert_eq!(breaker.failed(None, start + SECOND, PATIENCE), Turned::Not);
        assert!(!breaker.admits(start + SECOND * 3 / 2));
        assert!(breaker.enter(start + SECOND * 2, PATIENCE)); // its client left
        assert!(!breaker.enter(start + SECOND * 5 / 2, PATIENCE));
        assert!(breaker.enter(start + SECOND * 3, PATIENCE));
    }

    #[test]
    fn a_path_that_is_cut_is_one_failure_however_many_streams_it_breaks() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let millisecond = Duration::from_millis(1);
        for nth in 0..40 {
            breaker.failed(None, start + millisecond * nth, PATIENCE);
        }
        breaker.failed(Some(start - SECOND), start + millisecond * 40, PATIENCE); // it waited for its answer meanwhile
        assert!(breaker.admits(start));
        // Cut again, and again: three in a row.
        breaker.failed(None, start + TOGETHER, PATIENCE);
        assert_eq!(
            breaker.failed(None, start + TOGETHER * 2, PATIENCE),
            Turned::Open
        );
    }

    #[test]
    fn requests_that_fail_one_after_another_count_however_fast() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let mut turned = Turned::Not;
        for nth in 0..3 {
            let began = start + Duration::from_micros(nth * 200);
            let failed = began + Duration::from_micros(100);
            turned = breaker.failed(Some(began), failed, PATIENCE);
        }
        assert_eq!(turned, Turned::Open);
    }

    proptest! {
        #[test]
        fn an_open_breaker_lets_one_request_through_in_its_time(steps in prop::collection::vec((0..4_u8, 0..400_u64), 0..200)) {
            let (breaker, mut now) = (Breaker::default(), Instant::now());
            let (mut in_a_row, mut last_trial): (u32, Option<Instant>) = (0, None);
            let mut counted: Option<Instant> = None;
            for (step, wait) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 => {
                        breaker.succeeded();
                        (in_a_row, last_trial, counted) = (0, None, None);
                    }
                    1 | 2 => {
                        let began = (step == 1).then_some(now);
                        breaker.failed(began, now, PATIENCE);
                        if began.is_some() || counted.is_none_or(|counted| now >= counted + TOGETHER) {
                            in_a_row += 1;
                            counted = Some(now);
                        }
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
