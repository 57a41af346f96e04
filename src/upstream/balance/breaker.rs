//! Ejects an endpoint that keeps failing, and lets one request try it from time to time.
//!
//! A failure is a refused or reset connection or a passed time limit, before the answer or during it. A complete answer is a
//! success, whatever its status. Closed: requests are admitted. Open: none is. After `open`, one trial request is admitted, and its
//! result decides ("Release It!", Nygard 2007, Circuit Breaker). Time is an argument, so that tests need no clock.
//!
//! The head of an answer proves nothing: a server whose engine hangs may send it and then nothing. So only a complete answer resets
//! the count of consecutive failures. An answer to a request that was sent before those failures resets it too, since answers take
//! minutes. Later failures count anew, so a server that fails every new request is ejected all the same.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When an endpoint is ejected, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Consecutive failures that open the breaker (`upstream.failures`).
    pub failures: u32,
    /// How long it stays open before a trial (`upstream.open_ms`).
    pub open: Duration,
}

/// How a result changed the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Not at all.
    None,
    /// The endpoint is ejected from now on.
    Opened,
    /// The endpoint gets requests again.
    Closed,
}

/// Concurrent requests that fail within this time have one cause: a broken network path breaks every stream on it.
const CORRELATION_WINDOW: Duration = Duration::from_millis(50);

/// The circuit breaker of one endpoint.
#[derive(Debug)]
pub struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        /// Consecutive failures.
        failures: u32,
        /// When the latest failure was counted.
        latest: Option<Instant>,
    },
    /// Also during a trial: if the trial never ends, the next one is admitted after the same time.
    Open {
        /// When the breaker opened.
        since: Instant,
        /// When the next trial is admitted.
        until: Instant,
    },
}

const NO_FAILURES: State = State::Closed {
    failures: 0,
    latest: None,
};

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: Mutex::new(NO_FAILURES),
        }
    }
}

impl Breaker {
    /// True if a request may be sent now. Changes nothing.
    pub fn admits(&self, now: Instant) -> bool {
        match *self.state.lock() {
            State::Closed { .. } => true,
            State::Open { until, .. } => now >= until,
        }
    }

    /// Admits a request, and takes the trial of an open breaker. Of several concurrent callers one gets the trial.
    pub fn try_admit(&self, now: Instant, config: BreakerConfig) -> bool {
        let mut state = self.state.lock();
        match &mut *state {
            State::Closed { .. } => true,
            State::Open { until, .. } if now >= *until => {
                *until = now + config.open;
                true
            }
            State::Open { .. } => false,
        }
    }

    /// Records a complete answer to a request that was sent at `sent`. A request from before the breaker opened does not close it.
    pub fn succeeded(&self, sent: Instant) -> Transition {
        let mut state = self.state.lock();
        match *state {
            State::Closed { .. } => {
                *state = NO_FAILURES;
                Transition::None
            }
            State::Open { since, .. } if sent < since => Transition::None,
            State::Open { .. } => {
                *state = NO_FAILURES;
                Transition::Closed
            }
        }
    }

    /// Records the first byte of an answer's body. It closes an open breaker, because the answer may take minutes; until an answer
    /// is complete, one more failure opens the breaker again.
    pub fn first_byte(&self, sent: Instant, config: BreakerConfig) -> Transition {
        let mut state = self.state.lock();
        match *state {
            State::Open { since, .. } if sent >= since => {
                *state = State::Closed {
                    failures: config.failures.saturating_sub(1),
                    latest: None,
                };
                Transition::Closed
            }
            _ => Transition::None,
        }
    }

    /// Records that a request that was sent at `sent` failed at `now`. It is not counted if it was under way when the latest failure
    /// was counted and fails within the correlation window: both have one cause.
    pub fn failed(&self, sent: Instant, now: Instant, config: BreakerConfig) -> Transition {
        let mut state = self.state.lock();
        let until = now + config.open;
        match &mut *state {
            State::Closed {
                latest: Some(latest),
                ..
            } if now < *latest + CORRELATION_WINDOW && sent < *latest => Transition::None,
            State::Closed { failures, latest } if *failures + 1 < config.failures => {
                *failures += 1;
                *latest = Some(now);
                Transition::None
            }
            State::Closed { .. } => {
                *state = State::Open { since: now, until };
                Transition::Opened
            }
            State::Open { since, until: next } => {
                if sent >= *since {
                    *next = until; // this was a trial; an older request does not delay the next one
                }
                Transition::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        open: SECOND,
    };

    /// A breaker that opened at `start`.
    fn open_at(start: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.failed(start, start, CONFIG);
        }
        assert!(!breaker.admits(start));
        breaker
    }

    #[test]
    fn it_opens_after_consecutive_failures_and_closes_after_a_successful_trial() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        breaker.failed(start, start, CONFIG);
        breaker.failed(start, start, CONFIG);
        assert_eq!(breaker.succeeded(start), Transition::None);
        breaker.failed(start, start, CONFIG);
        breaker.failed(start, start, CONFIG);
        assert!(breaker.admits(start), "not in a row");
        assert_eq!(breaker.failed(start, start, CONFIG), Transition::Opened);
        assert!(!breaker.admits(start + SECOND / 2));
        let later = start + SECOND;
        assert!(breaker.admits(later) && breaker.try_admit(later, CONFIG));
        assert!(!breaker.try_admit(later, CONFIG), "one trial at a time");
        assert_eq!(breaker.succeeded(later), Transition::Closed);
        assert!(breaker.try_admit(later, CONFIG) && breaker.try_admit(later, CONFIG));
    }

    #[test]
    fn a_trial_that_fails_or_never_ends_is_followed_by_another() {
        let start = Instant::now();
        let (breaker, trial) = (open_at(start), start + SECOND);
        assert!(breaker.try_admit(trial, CONFIG));
        assert_eq!(breaker.failed(trial, trial, CONFIG), Transition::None);
        assert!(!breaker.admits(start + SECOND * 3 / 2));
        assert!(breaker.try_admit(start + SECOND * 2, CONFIG)); // its client left
        assert!(!breaker.try_admit(start + SECOND * 5 / 2, CONFIG));
        assert!(breaker.try_admit(start + SECOND * 3, CONFIG));
    }

    #[test]
    fn the_first_byte_of_a_trial_closes_the_breaker_until_the_first_failure() {
        let start = Instant::now();
        let (breaker, trial) = (open_at(start), start + SECOND);
        assert!(breaker.try_admit(trial, CONFIG));
        assert_eq!(breaker.first_byte(trial, CONFIG), Transition::Closed);
        assert!(breaker.try_admit(trial, CONFIG) && breaker.try_admit(trial, CONFIG));
        let later = trial + SECOND;
        assert_eq!(breaker.failed(trial, later, CONFIG), Transition::Opened);
        // It ends well this time, and failures are counted from the first one again.
        let trial = later + SECOND;
        assert_eq!(breaker.first_byte(trial, CONFIG), Transition::Closed);
        assert_eq!(breaker.succeeded(trial), Transition::None);
        assert_eq!(breaker.failed(trial, trial, CONFIG), Transition::None);
        assert!(breaker.admits(trial));
    }

    #[test]
    fn requests_sent_before_the_breaker_opened_do_not_change_it() {
        let start = Instant::now();
        let (breaker, before) = (open_at(start), start - SECOND);
        assert_eq!(breaker.first_byte(before, CONFIG), Transition::None);
        assert_eq!(breaker.succeeded(before), Transition::None);
        assert!(!breaker.admits(start));
        breaker.failed(before, start + SECOND / 2, CONFIG);
        assert!(breaker.admits(start + SECOND), "it delays no trial");
    }

    #[test]
    fn a_network_cut_counts_once_however_many_streams_it_breaks() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let (before, millisecond) = (start - SECOND, Duration::from_millis(1));
        for nth in 0..41 {
            breaker.failed(before, start + millisecond * nth, CONFIG);
        }
        assert!(breaker.admits(start));
        // Cut again, and again: three in a row.
        breaker.failed(before, start + CORRELATION_WINDOW, CONFIG);
        assert_eq!(
            breaker.failed(before, start + CORRELATION_WINDOW * 2, CONFIG),
            Transition::Opened
        );
    }

    #[test]
    fn requests_that_fail_one_after_another_each_count() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        let mut transition = Transition::None;
        for nth in 0..3 {
            let began = start + Duration::from_micros(nth * 200);
            let failed = began + Duration::from_micros(100);
            transition = breaker.failed(began, failed, CONFIG);
        }
        assert_eq!(transition, Transition::Opened);
    }

    proptest! {
        #[test]
        fn an_open_breaker_admits_one_trial_each_open_interval(steps in prop::collection::vec((0..4_u8, 0..400_u64), 0..200)) {
            let (breaker, start) = (Breaker::default(), Instant::now());
            let mut now = start;
            let (mut in_a_row, mut last_trial): (u32, Option<Instant>) = (0, None);
            let mut counted: Option<Instant> = None;
            for (step, wait) in steps {
                now += Duration::from_millis(wait);
                let is_open = in_a_row >= CONFIG.failures;
                match step {
                    0 => {
                        breaker.succeeded(now);
                        (in_a_row, last_trial, counted) = (0, None, None);
                    }
                    1 | 2 => {
                        let is_new = step == 1; // or it was sent before all others
                        let began = if is_new { now } else { start - SECOND };
                        breaker.failed(began, now, CONFIG);
                        if !is_open && (is_new || counted.is_none_or(|counted| now >= counted + CORRELATION_WINDOW)) {
                            in_a_row += 1;
                            counted = Some(now);
                        }
                        if in_a_row >= CONFIG.failures && (is_new || !is_open) {
                            last_trial = Some(now);
                        }
                    }
                    _ => {
                        let (admits, entered) = (breaker.admits(now), breaker.try_admit(now, CONFIG));
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
