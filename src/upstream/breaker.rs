//! Leaves out an endpoint that keeps failing, and tries it again now and then.
//!
//! Failures are connections refused or reset and limits that passed, before an answer or in the middle of it; a whole answer,
//! whatever its status, is none. Closed: requests go there. Open: none do. Half open: one does, and what becomes of it decides
//! ("Release It!", Nygard 2007, Circuit Breaker). Time is an argument, so that tests need no clock.
//!
//! The head of an answer says nothing yet: a server whose engine hangs sends it, and then nothing. The row of failures ends with
//! an answer that is whole. One that was sent before them ends it too, since answers take minutes: it takes back the failures so
//! far, not those that follow, so that a server that fails every new request is left out all the same.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

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
    Open {
        /// When the endpoint was left out.
        since: Instant,
        /// When one request may try it.
        until: Instant,
    },
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
        match *self.state.lock() {
            State::Closed { .. } => true,
            State::Open { until, .. } => now >= until,
        }
    }

    /// Takes what [`Breaker::admits`] offers. Of several that ask at once, one gets the trial of an open breaker.
    pub fn enter(&self, now: Instant, patience: Patience) -> bool {
        let mut state = self.state.lock();
        match &mut *state {
            State::Closed { .. } => true,
            State::Open { until, .. } if now >= *until => {
                *until = now + patience.open;
                true
            }
            State::Open { .. } => false,
        }
    }

    /// An answer came to its end, to a request that was sent at `began`. What was sent before the endpoint was left out says
    /// nothing of how it is since.
    pub fn succeeded(&self, began: Instant) -> Turned {
        let mut state = self.state.lock();
        match *state {
            State::Closed { .. } => {
                *state = WELL;
                Turned::Not
            }
            State::Open { since, .. } if began < since => Turned::Not,
            State::Open { .. } => {
                *state = WELL;
                Turned::Closed
            }
        }
    }

    /// The body of an answer began. It may run for minutes, for which a trial does not keep the others waiting: they may go there,
    /// and until an answer is whole the next failure is enough to leave the endpoint out again.
    pub fn begun(&self, began: Instant, patience: Patience) -> Turned {
        let mut state = self.state.lock();
        match *state {
            State::Open { since, .. } if began >= since => {
                *state = State::Closed {
                    failures: patience.failures.saturating_sub(1),
                    latest: None,
                };
                Turned::Closed
            }
            _ => Turned::Not,
        }
    }

    /// The endpoint failed a request that it was sent at `began`. One that was under way when the latest failure was counted, and
    /// fails right behind it, is the same failure.
    pub fn failed(&self, began: Instant, now: Instant, patience: Patience) -> Turned {
        let mut state = self.state.lock();
        let until = now + patience.open;
        match &mut *state {
            State::Closed {
                latest: Some(latest),
                ..
            } if now < *latest + TOGETHER && began < *latest => Turned::Not,
            State::Closed { failures, latest } if *failures + 1 < patience.failures => {
                *failures += 1;
                *latest = Some(now);
                Turned::Not
            }
            State::Closed { .. } => {
                *state = State::Open { since: now, until };
                Turned::Open
            }
            State::Open { since, until: next } => {
                if began >= *since {
                    *next = until; // it was a trial; what was sent before puts none off
                }
                Turned::Not
            }
        }
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

    /// Opened at this moment.
    fn open_at(start: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(start, start, PATIENCE);
        }
        assert!(!breaker.admits(start));
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_after_a_trial_that_went_well() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start, start, PATIENCE);
        breaker.failed(start, start, PATIENCE);
        assert_eq!(breaker.succeeded(start), Turned::Not);
        breaker.failed(start, start, PATIENCE);
        breaker.failed(start, start, PATIENCE);
        assert!(breaker.admits(start), "not in a row");
        assert_eq!(breaker.failed(start, start, PATIENCE), Turned::Open);
        assert!(!breaker.admits(start + SECOND / 2));
        let later = start + SECOND;
        assert!(breaker.admits(later) && breaker.enter(later, PATIENCE));
        assert!(!breaker.enter(later, PATIENCE), "one trial at a time");
        assert_eq!(breaker.succeeded(later), Turned::Closed);
        assert!(breaker.enter(later, PATIENCE) && breaker.enter(later, PATIENCE));
    }

    #[test]
    fn a_trial_that_fails_or_is_never_heard_of_is_followed_by_another() {
        let start = Instant::now();
        let (breaker, trial) = (open_at(start), start + SECOND);
        assert!(breaker.enter(trial, PATIENCE));
        assert_eq!(breaker.failed(trial, trial, PATIENCE), Turned::Not);
        assert!(!breaker.admits(start + SECOND * 3 / 2));
        assert!(breaker.enter(start + SECOND * 2, PATIENCE)); // its client left
        assert!(!breaker.enter(start + SECOND * 5 / 2, PATIENCE));
        assert!(breaker.enter(start + SECOND * 3, PATIENCE));
    }

    #[test]
    fn a_trial_whose_body_begins_lets_the_others_in_until_the_first_failure() {
        let start = Instant::now();
        let (breaker, trial) = (open_at(start), start + SECOND);
        assert!(breaker.enter(trial, PATIENCE));
        assert_eq!(breaker.begun(trial, PATIENCE), Turned::Closed);
        assert!(breaker.enter(trial, PATIENCE) && breaker.enter(trial, PATIENCE));
        let later = trial + SECOND;
        assert_eq!(breaker.failed(trial, later, PATIENCE), Turned::Open);
        // It ends well this time, and failures are counted from the first one again.
        let trial = later + SECOND;
        assert_eq!(breaker.begun(trial, PATIENCE), Turned::Closed);
        assert_eq!(breaker.succeeded(trial), Turned::Not);
        assert_eq!(breaker.failed(trial, trial, PATIENCE), Turned::Not);
        assert!(breaker.admits(trial));
    }

    #[test]
    fn what_was_sent_before_an_endpoint_was_left_out_says_nothing_of_it_since() {
        let start = Instant::now();
        let (breaker, before) = (open_at(start), start - SECOND);
        assert_eq!(breaker.begun(before, PATIENCE), Turned::Not);
        assert_eq!(breaker.succeeded(before), Turned::Not);
        assert!(!breaker.admits(start));
        breaker.failed(before, start + SECOND / 2, PATIENCE);
        assert!(breaker.admits(start + SECOND), "it puts no trial off");
    }

    #[test]
    fn a_path_that_is_cut_is_one_failure_however_many_streams_it_breaks() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let (before, millisecond) = (start - SECOND, Duration::from_millis(1));
        for nth in 0..41 {
            breaker.failed(before, start + millisecond * nth, PATIENCE);
        }
        assert!(breaker.admits(start));
        // Cut again, and again: three in a row.
        breaker.failed(before, start + TOGETHER, PATIENCE);
        assert_eq!(
            breaker.failed(before, start + TOGETHER * 2, PATIENCE),
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
            turned = breaker.failed(began, failed, PATIENCE);
        }
        assert_eq!(turned, Turned::Open);
    }

    proptest! {
        #[test]
        fn an_open_breaker_lets_one_request_through_in_its_time(steps in prop::collection::vec((0..4_u8, 0..400_u64), 0..200)) {
            let (breaker, start) = (Breaker::default(), Instant::now());
            let mut now = start;
            let (mut in_a_row, mut last_trial): (u32, Option<Instant>) = (0, None);
            let mut counted: Option<Instant> = None;
            for (step, wait) in steps {
                now += Duration::from_millis(wait);
                let is_open = in_a_row >= PATIENCE.failures;
                match step {
                    0 => {
                        breaker.succeeded(now);
                        (in_a_row, last_trial, counted) = (0, None, None);
                    }
                    1 | 2 => {
                        let is_new = step == 1; // or it was sent before all others
                        let began = if is_new { now } else { start - SECOND };
                        breaker.failed(began, now, PATIENCE);
                        if !is_open && (is_new || counted.is_none_or(|counted| now >= counted + TOGETHER)) {
                            in_a_row += 1;
                            counted = Some(now);
                        }
                        if in_a_row >= PATIENCE.failures && (is_new || !is_open) {
                            last_trial = Some(now);
                        }
                    }
                    _ => {
                        let (admits, entered) = (breaker.admits(now), breaker.enter(now, PATIENCE));
                        prop_assert_eq!(admits, entered);
                        let waited = last_trial.is_none_or(|last| now >= last + SECOND);
                        prop_assert_eq!(entered, !is_open || waited);
                        if entered && is_open {
                            last_trial = Some(now);
                        }
                    }
                }
            }
        }
    }
}
