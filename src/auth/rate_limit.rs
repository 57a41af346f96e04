//! Limits the requests per minute of one API key. A whole minute's requests may come at once; then they come at that rate.
//!
//! The algorithm is GCRA, the generic cell rate algorithm. Its whole state is one moment, up to which the requests so far are paid
//! for at the key's rate: a request moves it by one interval, and passes if it is then at most a minute ahead of the clock. One
//! moment is easily shared: the store of `auth.shared_limits` keeps the same one, and each side can take up the other's.

use std::{
    fmt,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::error::Error;

/// How far ahead of the clock the requests may be paid for: a minute's requests may come at once.
pub const BURST: Duration = Duration::from_secs(60);

/// Counts the requests of one API key.
pub struct RateLimiter {
    per_minute: NonZeroU32,
    /// What the moment is counted from.
    epoch: Instant,
    /// The moment up to which the requests so far are paid for, in nanoseconds from `epoch`.
    paid_until: AtomicU64,
}

impl RateLimiter {
    /// Creates a limiter with all its requests left.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            epoch: Instant::now(),
            paid_until: AtomicU64::new(0),
        }
    }

    /// The limit, in requests per minute.
    pub fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// The time between two requests at the limit's rate.
    pub fn interval(&self) -> Duration {
        BURST / self.per_minute.get()
    }

    /// Counts one request that comes `now`.
    ///
    /// # Errors
    /// A 429 when none is left; that request is not counted.
    pub fn check(&self, now: Instant) -> Result<(), Error> {
        let (now, interval) = (self.nanoseconds(now), nanoseconds(self.interval()));
        // In whole intervals, so that rounding neither adds a request nor takes one away.
        let burst = interval * u64::from(self.per_minute.get());
        let counted =
            self.paid_until
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid_until| {
                    let next = paid_until.max(now) + interval;
                    (next - now <= burst).then_some(next)
                });
        match counted {
            Ok(_) => Ok(()),
            Err(paid_until) => {
                let wait = paid_until.saturating_sub(now) + interval - burst;
                Err(rate_limited(Duration::from_nanos(wait)))
            }
        }
    }

    /// How far the requests are paid for ahead of `now`; zero when the key has not been used for a minute.
    pub fn paid_ahead(&self, now: Instant) -> Duration {
        let paid_until = self.paid_until.load(Ordering::Relaxed);
        Duration::from_nanos(paid_until.saturating_sub(self.nanoseconds(now)))
    }

    /// Takes up that the requests are paid for `ahead` of `now`, if that is further than this limiter knows.
    pub fn take_up(&self, now: Instant, ahead: Duration) {
        let paid_until = self.nanoseconds(now) + nanoseconds(ahead.min(BURST));
        self.paid_until.fetch_max(paid_until, Ordering::Relaxed);
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.epoch))
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per minute", self.per_minute)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4) // 146 years, with room for sums
}

/// The error of a request that may come again after `wait`.
pub fn rate_limited(wait: Duration) -> Error {
    Error::RateLimited {
        retry_s: retry_after_seconds(wait),
    }
}

/// The wait in whole seconds, rounded up and at least one: a client that retries at once would be refused again.
fn retry_after_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limiter(per_minute: u32) -> RateLimiter {
        RateLimiter::new(NonZeroU32::new(per_minute).unwrap())
    }

    #[test]
    fn a_minutes_requests_pass_at_once_and_then_the_error_says_when_to_retry() {
        let (limiter, now) = (limiter(3), Instant::now());
        for _ in 0..3 {
            limiter.check(now).unwrap();
        }
        let Err(Error::RateLimited { retry_s }) = limiter.check(now) else {
            panic!("a fourth one passed")
        };
        assert_eq!(retry_s, 20);
        let later = now + Duration::from_secs(20);
        limiter.check(later).unwrap();
        assert!(limiter.check(later).is_err());
    }

    #[test]
    fn every_limit_lets_exactly_its_number_pass_at_once() {
        for per_minute in [1, 7, 59, 60, 61, 59_999, 1_000_003] {
            let (limiter, now) = (limiter(per_minute), Instant::now());
            let passed = (0..=per_minute).filter(|_| limiter.check(now).is_ok());
            assert_eq!(passed.count(), per_minute as usize);
        }
    }

    #[test]
    fn a_limiter_that_takes_up_what_another_knows_gives_no_second_burst() {
        let (one, other, now) = (limiter(60), limiter(60), Instant::now());
        for _ in 0..60 {
            one.check(now).unwrap();
        }
        other.take_up(now, one.paid_ahead(now));
        assert!(other.check(now).is_err());
        other.take_up(now, Duration::ZERO); // what is known is not forgotten
        assert!(other.check(now).is_err());
        let later = now + Duration::from_secs(5);
        assert_eq!(other.paid_ahead(later), Duration::from_secs(55));
        assert_eq!((0..9).filter(|_| other.check(later).is_ok()).count(), 5);
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_pass_than_a_burst_and_the_rate(per_minute in 1..600_u32, pauses_ms in prop::collection::vec(0..3000_u64, 1..200)) {
            let (limiter, start) = (limiter(per_minute), Instant::now());
            let (mut now, mut passed) = (start, 0);
            for pause in pauses_ms {
                now += Duration::from_millis(pause);
                passed += u64::from(limiter.check(now).is_ok());
                let earned = (now - start).as_secs_f64() * f64::from(per_minute) / 60.0;
                prop_assert!(passed as f64 <= f64::from(per_minute) + earned + 1e-3);
            }
        }
    }

    #[test]
    fn a_wait_is_rounded_up() {
        for (wait_ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (20_000, 20)] {
            assert_eq!(retry_after_seconds(Duration::from_millis(wait_ms)), seconds);
        }
    }
}
