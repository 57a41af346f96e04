//! Room for requests in flight.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many requests are in flight. The bound is named with every request, so that a reload can change it.
#[derive(Debug, Default)]
pub struct Places {
    taken: AtomicUsize,
}

impl Places {
    /// A place, unless `limit` are taken.
    pub fn take(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let room = |taken: usize| (taken < limit).then(|| taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// A request's place; free for another when dropped.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_limit_holds_at_once_and_those_that_are_in_stay() {
        let places = Arc::new(Places::default());
        let (one, two) = (places.take(2).unwrap(), places.take(2).unwrap());
        assert!(places.take(2).is_none());
        drop(one);
        assert!(places.take(1).is_none(), "one is taken still");
        drop(two);
        assert!(places.take(1).is_some());
        assert_eq!(places.taken(), 0);
    }
}
