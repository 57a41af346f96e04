//! How many scores were asked for, and how many of them the model had to work out.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that only grow.
#[derive(Debug, Default)]
pub struct Lookups {
    asked: AtomicU64,
    computed: AtomicU64,
}

impl Lookups {
    /// Somebody asks for a score.
    pub(super) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// It is not remembered, and nobody is about to know it.
    pub(super) fn compute(&self) {
        self.computed.fetch_add(1, Ordering::Relaxed);
    }

    /// Scores that the model was asked for, whatever came of it.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Scores that were remembered, or that another request for the same text was waiting for.
    pub fn remembered(&self) -> u64 {
        let computed = self.computed();
        self.asked.load(Ordering::Relaxed).saturating_sub(computed)
    }
}
