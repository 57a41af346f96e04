//! How much work waits for the model, and how long it will take: so that nobody joins a queue who would be late at its end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The share of the latest batch in what is believed of the pace: an eighth, as TCP's estimate of a round trip (RFC 6298).
const GAIN: u64 = 8;

/// Work that waits or runs, in bytes of text with something on top for each, and the pace at which it is done.
#[derive(Debug, Default)]
pub struct Backlog {
    waits: AtomicU64,
    /// Nanoseconds a unit; 0 before the first batch.
    pace: AtomicU64,
}

impl Backlog {
    /// Somebody joins with this much.
    pub fn add(&self, size: u64) {
        self.waits.fetch_add(size, Ordering::Relaxed);
    }

    /// This much is done, or will not be.
    pub fn remove(&self, size: u64) {
        self.waits.fetch_sub(size, Ordering::Relaxed);
    }

    /// Removes this much when the guard is dropped, however the work ends.
    pub fn until_dropped(&self, size: u64) -> impl Drop + '_ {
        Taken {
            backlog: self,
            size,
        }
    }

    /// When somebody who joins with this much would likely be done, from now. Where nobody waits it is not asked: else one slow
    /// batch, of a processor that was elsewhere, would keep everybody out for good.
    pub fn until_done(&self, size: u64) -> Duration {
        let before = self.waits.load(Ordering::Relaxed);
        if before == 0 {
            return Duration::ZERO;
        }
        let pace = self.pace.load(Ordering::Relaxed);
        Duration::from_nanos(before.saturating_add(size).saturating_mul(pace))
    }

    /// Takes note of how long this much took. Only the model's thread does so.
    pub fn learn(&self, size: u64, took: Duration) {
        if size == 0 {
            return;
        }
        let latest = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / size;
        let pace = match self.pace.load(Ordering::Relaxed) {
            0 => latest,
            pace => pace - pace / GAIN + latest / GAIN,
        };
        self.pace.store(pace.max(1), Ordering::Relaxed);
    }
}

struct Taken<'a> {
    backlog: &'a Backlog,
    size: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.backlog.remove(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_would_be_late_is_told_by_the_pace_of_the_latest_batches() {
        let backlog = Backlog::default();
        backlog.add(500);
        assert_eq!(
            backlog.until_done(500),
            Duration::ZERO,
            "nothing is known yet"
        );
        backlog.learn(100, Duration::from_millis(1));
        assert_eq!(backlog.until_done(500), Duration::from_millis(10));
        for _ in 0..60 {
            backlog.learn(100, Duration::from_millis(3));
        }
        let slower = backlog.until_done(500);
        assert!(
            (29.0..30.1).contains(&(slower.as_secs_f64() * 1e3)),
            "{slower:?}"
        );
        drop(backlog.until_dropped(400));
        assert!(backlog.until_done(500) < slower * 7 / 10);
        drop(backlog.until_dropped(100));
        assert_eq!(backlog.until_done(500), Duration::ZERO, "nobody waits");
    }
}
