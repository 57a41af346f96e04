//! Counters of the score cache, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lookups and misses of the score cache since the start.
#[derive(Debug, Default)]
pub struct CacheStats {
    lookups: AtomicU64,
    misses: AtomicU64,
}

impl CacheStats {
    /// Counts a score that a request needs.
    pub(super) fn record_lookup(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a score that is neither cached nor being computed for another request.
    pub(super) fn record_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Scores that the model had to compute, including those that failed or were refused.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Scores from the cache, or shared with another request for the same text.
    pub fn hits(&self) -> u64 {
        let misses = self.misses();
        self.lookups.load(Ordering::Relaxed).saturating_sub(misses)
    }
}
