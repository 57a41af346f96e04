//! How often a key may be used: as many requests at once as it has a minute, then at that pace.

use std::{fmt, num::NonZeroU32, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};

use crate::error::Error;

/// The requests of one key, counted.
pub struct RateLimiter {
    per_minute: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl RateLimiter {
    /// A rate of which nothing is used yet.
    pub fn new(per_minute: NonZeroU32) -> Self {
        Self {
            per_minute,
            limiter: DefaultDirectRateLimiter::direct(Quota::per_minute(per_minute)),
        }
    }

    /// Requests a minute.
    pub fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    /// Counts one more request.
    ///
    /// # Errors
    /// A 429 when there is none left; that one is not counted.
    pub fn check(&self) -> Result<(), Error> {
        self.limiter.check().map_err(|later| Error::RateLimited {
            retry_s: retry_after_seconds(later.wait_time_from(DefaultClock::default().now())),
        })
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} a minute", self.per_minute)
    }
}

/// Rounded up, and never none: a client that comes back at once would be refused again.
fn retry_after_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_passes_at_once_and_then_a_client_is_told_when_to_come_back() {
        let rate = RateLimiter::new(const { NonZeroU32::new(3).unwrap() });
        for _ in 0..3 {
            rate.check().unwrap();
        }
        let Err(Error::RateLimited { retry_s }) = rate.check() else {
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
