//! The workers without work. A request wakes the one that worked last, because its model is still in the processor's caches, while
//! the memory of one that slept longer has to be loaded again. With a model on each of two cores, a single request took a tenth
//! longer when the workers took turns.

use std::thread::Thread;

/// A stack of parked threads. The one that worked last is on top.
#[derive(Debug, Default)]
pub struct IdleWorkers(Vec<Thread>);

impl IdleWorkers {
    /// Adds a thread that is about to park.
    pub fn push(&mut self, worker: Thread) {
        self.0.push(worker);
    }

    /// Takes the thread that worked last, which the caller unparks.
    pub fn pop(&mut self) -> Option<Thread> {
        self.0.pop()
    }

    /// Removes a thread, if it is still there.
    pub fn remove(&mut self, worker: &Thread) {
        self.0.retain(|idle| idle.id() != worker.id());
    }

    /// The number of threads.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
