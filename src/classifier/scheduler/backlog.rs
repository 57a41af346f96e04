//! Estimates when a request would be answered, from the work that is queued or running and the speed of the latest batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The number of batches over which the speed is averaged, with exponentially falling weight. A text that passes through all layers
/// takes twenty times as long as one of the same length that leaves early. An average over few batches would refuse every request
/// after each of the former.
const AVERAGED_BATCHES: u64 = 32;

/// The work of one lane, queued or running, and the speed at which one worker does it. Work is measured as [`Excerpt::cost`].
///
/// [`Excerpt::cost`]: crate::classifier::excerpt::Excerpt::cost
#[derive(Debug)]
pub struct Backlog {
    workers: u64,
    pending_cost: AtomicU64,
    /// Weighted sum of the nanoseconds that the latest batches took; 0 before the first one.
    batch_nanos: AtomicU64,
    /// Weighted sum of the costs of the same batches.
    batch_costs: AtomicU64,
}

/// The cost of one request in a [`Backlog`]. Dropping it takes the cost out again, however the request ended.
#[derive(Debug)]
pub struct Reservation {
    backlog: Arc<Backlog>,
    cost: u64,
}

impl Backlog {
    /// An empty backlog that this many workers share.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1) as u64,
            pending_cost: AtomicU64::new(0),
            batch_nanos: AtomicU64::new(0),
            batch_costs: AtomicU64::new(0),
        }
    }

    /// Adds the cost of a request.
    pub fn reserve(self: &Arc<Self>, cost: u64) -> Reservation {
        self.pending_cost.fetch_add(cost, Ordering::Relaxed);
        Reservation {
            backlog: self.clone(),
            cost,
        }
    }

    /// The cost of all work, queued or running.
    pub fn pending_cost(&self) -> u64 {
        self.pending_cost.load(Ordering::Relaxed)
    }

    /// The estimated time until a request of this cost would be answered, when work of the cost `ahead` is done before it. Zero when
    /// there is none, so that one slow batch cannot refuse every request that follows.
    pub fn estimated_completion(&self, ahead: u64, cost: u64) -> Duration {
        if ahead == 0 {
            return Duration::ZERO;
        }
        let nanos = self.batch_nanos.load(Ordering::Relaxed);
        let costs = self.batch_costs.load(Ordering::Relaxed);
        let work = (ahead / self.workers).saturating_add(cost);
        Duration::from_nanos(work.saturating_mul(nanos) / costs.max(1))
    }

    /// Adds a batch to the average speed. Of two concurrent calls, one may be lost.
    pub fn record_batch(&self, cost: u64, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        for (sum, latest) in [(&self.batch_nanos, nanos), (&self.batch_costs, cost)] {
            let before = sum.load(Ordering::Relaxed);
            let decayed = before - before / AVERAGED_BATCHES;
            sum.store(decayed.saturating_add(latest), Ordering::Relaxed);
        }
    }
}

impl Reservation {
    /// The reserved cost.
    pub fn cost(&self) -> u64 {
        self.cost
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.backlog
            .pending_cost
            .fetch_sub(self.cost, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_speed_of_the_latest_batches() {
        let backlog = Arc::new(Backlog::new(1));
        let (first, second) = (backlog.reserve(100), backlog.reserve(400));
        assert_eq!(
            backlog.estimated_completion(backlog.pending_cost(), 500),
            Duration::ZERO,
            "the speed is not known yet"
        );
        backlog.record_batch(100, Duration::from_millis(1));
        assert_eq!(
            backlog.estimated_completion(backlog.pending_cost(), 500),
            Duration::from_millis(10)
        );
        for _ in 0..200 {
            backlog.record_batch(100, Duration::from_millis(3));
        }
        let slower = backlog.estimated_completion(backlog.pending_cost(), 500);
        assert!(
            (29.0..30.1).contains(&(slower.as_secs_f64() * 1e3)),
            "{slower:?}"
        );
        drop(second);
        assert!(backlog.estimated_completion(backlog.pending_cost(), 500) < slower * 7 / 10);
        drop(first);
        assert_eq!(
            backlog.estimated_completion(backlog.pending_cost(), 500),
            Duration::ZERO,
            "no work is pending"
        );
    }

    #[test]
    fn one_slow_text_among_many_fast_ones_does_not_refuse_every_request() {
        let backlog = Arc::new(Backlog::new(1));
        let _pending = backlog.reserve(900);
        for number in 0..400 {
            // Three in four leave the model early: 0.75 ms each on average.
            let micros = if number % 4 == 3 { 2_700 } else { 100 };
            backlog.record_batch(100, Duration::from_micros(micros));
            let expected = backlog
                .estimated_completion(backlog.pending_cost(), 100)
                .as_secs_f64()
                * 1e3;
            assert!(
                number < 100 || (6.5..8.7).contains(&expected),
                "{expected} ms after {number}"
            );
        }
    }

    #[test]
    fn two_workers_halve_the_wait_but_not_the_inference() {
        let backlog = Arc::new(Backlog::new(2));
        let _pending = backlog.reserve(1_000);
        backlog.record_batch(100, Duration::from_millis(1));
        assert_eq!(
            backlog.estimated_completion(backlog.pending_cost(), 500),
            Duration::from_millis(10)
        );
    }
}
