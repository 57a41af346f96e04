//! The limit on requests in flight.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the requests in flight. The limit comes with every request, so that a reload can change it.
#[derive(Debug, Default)]
pub struct ConcurrencyLimit {
    in_use: AtomicUsize,
}

impl ConcurrencyLimit {
    /// Takes a permit, unless `limit` permits are in use.
    pub fn try_acquire(self: &Arc<Self>, limit: usize) -> Option<Permit> {
        let one_more = |in_use: usize| (in_use < limit).then(|| in_use + 1);
        let taken = self
            .in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.is_ok().then(|| Permit(self.clone()))
    }

    /// How many permits are in use.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

/// One request's permit; dropping it returns it.
#[derive(Debug)]
pub struct Permit(Arc<ConcurrencyLimit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_limit_holds_at_once_and_running_requests_keep_their_permits() {
        let limit = Arc::new(ConcurrencyLimit::default());
        let (one, two) = (limit.try_acquire(2).unwrap(), limit.try_acquire(2).unwrap());
        assert!(limit.try_acquire(2).is_none());
        drop(one);
        assert!(limit.try_acquire(1).is_none(), "one is in use still");
        drop(two);
        assert!(limit.try_acquire(1).is_some());
        assert_eq!(limit.in_use(), 0);
    }
}
