//! The threads that have nothing to do. Work goes to the one that worked last: its model is still in the caches of its processor, where
//! that of one that slept longer has to come from memory. A request alone, with a model on each of two cores, took a tenth longer when they
//! took turns.

use std::thread::{self, Thread};

use parking_lot::Mutex;

/// The threads that wait, the one that worked last at the end.
#[derive(Debug, Default)]
pub struct IdleWorkers(Mutex<Vec<Thread>>);

impl IdleWorkers {
    /// Waits until `look` finds something. It is asked again whenever this thread is woken.
    pub fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        let me = thread::current();
        loop {
            if let Some(found) = look() {
                return found;
            }
            self.0.lock().push(me.clone());
            // What came before that woke nobody.
            let Some(found) = look() else {
                thread::park();
                self.leaves(&me);
                continue;
            };
            if !self.leaves(&me) {
                self.wake(); // it was called for something else that came
            }
            return found;
        }
    }

    /// There is something: wakes the thread that worked last, if one waits.
    pub fn wake(&self) {
        if let Some(thread) = self.0.lock().pop() {
            thread.unpark();
        }
    }

    /// There will be nothing more: wakes all.
    pub fn wake_all(&self) {
        for thread in self.0.lock().drain(..) {
            thread.unpark();
        }
    }

    /// Takes a thread out; false when it was out already.
    fn leaves(&self, me: &Thread) -> bool {
        let mut waiting = self.0.lock();
        let before = waiting.len();
        waiting.retain(|thread| thread.id() != me.id());
        waiting.len() < before
    }
}
