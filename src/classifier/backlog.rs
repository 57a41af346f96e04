//! How much work waits for the model, and how long it will take: so that nobody joins a queue who would be late at its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Over how many of the latest batches the pace is taken, older ones counting less and less. One text takes twenty times as long as
/// another of its length, when the one goes through all of a model's layers and the other leaves it early: an average over few batches
/// would keep everybody out after each of the former.
const BATCHES: u64 = 32;

/// Work that waits or runs, in bytes of text with something on top for each, and the pace at which one thread does it.
#[derive(Debug)]
pub struct Backlog {
    workers: usize,
    waits: AtomicU64,
    /// Nanoseconds that the latest batches took, and what was in them; 0 before the first.
    took: AtomicU64,
    done: AtomicU64,
}

/// Somebody's work in the backlog, until it is dropped, however it ends.
#[derive(Debug)]
pub struct Place {
    backlog: Arc<Backlog>,
    size: u64,
}

impl Backlog {
    /// Work for this many threads.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1),
            waits: AtomicU64::new(0),
            took: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    /// How many threads there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Somebody joins with this much.
    pub fn take(self: Arc<Self>, size: u64) -> Place {
        self.waits.fetch_add(size, Ordering::Relaxed);
        Place {
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
        let (took, done) = (
            self.took.load(Ordering::Relaxed),
            self.done.load(Ordering::Relaxed),
        );
        let work = (before / self.workers as u64).saturating_add(size);
        Duration::from_nanos(work.saturating_mul(took) / done.max(1))
    }

    /// Takes note of how long this much took on one thread. Of two that do so at once, one may be lost.
    pub fn learn(&self, size: u64, took: Duration) {
        let latest = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        for (sum, latest) in [(&self.took, latest), (&self.done, size)] {
            let before = sum.load(Ordering::Relaxed);
            sum.store(
                (before - before / BATCHES).saturating_add(latest),
                Ordering::Relaxed,
            );
        }
    }
}

impl Place {
    /// How much it is.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backlog.waits.fetch_sub(self.size, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_would_be_late_is_told_by_the_pace_of_the_latest_batches() {
        let backlog = Arc::new(Backlog::new(1));
        let (first, second) = (backlog.clone().take(100), backlog.clone().take(400));
        assert_eq!(
            backlog.until_done(500),
            Duration::ZERO,
            "nothing is known yet"
        );
        backlog.learn(100, Duration::from_millis(1));
        assert_eq!(backlog.until_done(500), Duration::from_millis(10));
        for _ in 0..200 {
            backlog.learn(100, Duration::from_millis(3));
        }
        let slower = backlog.until_done(500);
        assert!(
            (29.0..30.1).contains(&(slower.as_secs_f64() * 1e3)),
            "{slower:?}"
        );
        drop(second);
        assert!(backlog.until_done(500) < slower * 7 / 10);
        drop(first);
        assert_eq!(backlog.until_done(500), Duration::ZERO, "nobody waits");
    }

    #[test]
    fn one_long_text_among_many_short_ones_does_not_keep_everybody_out() {
        let backlog = Arc::new(Backlog::new(1));
        let _waits = backlog.clone().take(900);
        for number in 0..400 {
            // Three in four leave the model early: 0.75 ms each on average.
            let micros = if number % 4 == 3 { 2_700 } else { 100 };
            backlog.learn(100, Duration::from_micros(micros));
            let expected = backlog.until_done(100).as_secs_f64() * 1e3;
            assert!(
                number < 100 || (6.5..8.7).contains(&expected),
                "{expected} ms after {number}"
            );
        }
    }

    #[test]
    fn two_threads_are_done_with_what_waits_in_half_the_time_and_with_a_text_in_the_same() {
        let backlog = Arc::new(Backlog::new(2));
        let _waits = backlog.clone().take(1_000);
        backlog.learn(100, Duration::from_millis(1));
        assert_eq!(backlog.until_done(500), Duration::from_millis(10));
    }
}
