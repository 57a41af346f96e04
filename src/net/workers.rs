//! One thread per processor, each with a runtime of its own; a connection stays where it was put.
//!
//! Everything that belongs to a request (the client's connection, its handler, the connection to the model server) then runs
//! on one thread: nothing is woken across threads, and no lock is fought for. Work stealing would pay for itself if requests
//! computed; here the only computing is the classifier's, which has threads of its own.

use std::{cell::Cell, io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The threads that serve connections; they end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<thread::JoinHandle<()>>,
    shutdown: CancellationToken,
}

impl Workers {
    /// How many there are: as many as the process may use processors.
    pub fn count() -> usize {
        thread::available_parallelism().map_or(1, NonZeroUsize::get)
    }

    /// Which worker the caller runs on; 0 outside of them.
    pub fn current_index() -> usize {
        INDEX.get()
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub fn start() -> io::Result<Self> {
        let mut workers = Self {
            handles: Vec::new(),
            threads: Vec::new(),
            shutdown: CancellationToken::new(),
        };
        for index in 0..Self::count() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let shutdown = workers.shutdown.clone();
            let run = move || {
                INDEX.set(index);
                runtime.block_on(shutdown.cancelled());
                runtime.shutdown_background(); // a name that is still being looked up does not delay the exit
            };
            let thread = thread::Builder::new().name(format!("worker-{index}"));
            workers.threads.push(thread.spawn(run)?);
        }
        Ok(workers)
    }

    /// The workers in turn, for ever.
    pub fn round_robin(&self) -> impl Iterator<Item = &Handle> {
        self.handles.iter().cycle()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shutdown.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // one that panicked has said so
        }
    }
}
