//! Limits the requests per minute of one API key. A whole minute's requests may come at once; then they come at that rate.

use std::{fmt, num::NonZeroU32, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};

use crate::error::Error;

/// Counts the requests of one API key.
pub struct RateLimiter {
    per_minute: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl RateLimiter {
    /// Creates a limiter with all its requests left.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            limiter: DefaultDirectRateLimiter::direct(Quota::per_minute(per_minute)),
        }
    }

    /// The limit, in requests per minute.
    pub fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Counts one request.
    ///
    /// # Errors
    /// A 429 when none is left; that request is not counted.
    pub fn check(&self) -> Result<(), Error> {
        self.limiter
            .check()
            .map_err(|not_until| Error::RateLimited {
                retry_s: retry_after_seconds(
                    not_until.wait_time_from(DefaultClock::default().now()),
                ),
            })
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per minute", self.per_minute)
    }
}

/// The wait in whole seconds, rounded up and at least one: a client that retries at once would be refused again.
fn retry_after_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_requests_pass_at_once_and_then_the_error_says_when_to_retry() {
        let limiter = RateLimiter::new(const { NonZeroU32::new(3).unwrap() });
        for _ in 0..3 {
            limiter.check().unwrap();
        }
        let Err(Error::RateLimited { retry_s }) = limiter.check() else {
            panic!("a fourth one passed")
        };
        assert!((1..=20).contains(&retry_s), "{retry_s}");
    }

    #[test]
    fn a_wait_is_rounded_up() {
        for (wait_ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (20_000, 20)] {
            assert_eq!(retry_after_seconds(Duration::from_millis(wait_ms)), seconds);
        }
    }
}
