//! One thread per processor, each with a runtime of its own. A connection stays on the thread that it was given to.
//!
//! Everything that belongs to a request (the client's connection, the handler, the connection to the model server) runs on one
//! thread, so that no task wakes another thread and no lock is contended. Work stealing would help requests that compute much, but
//! only the classifier does, and it has threads of its own.

use std::{cell::Cell, io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The threads that serve connections. Dropping it ends them.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<thread::JoinHandle<()>>,
    shutdown: CancellationToken,
}

impl Workers {
    /// The number of threads: one for each processor that the process may use.
    pub fn count() -> usize {
        thread::available_parallelism().map_or(1, NonZeroUsize::get)
    }

    /// The index of the worker that the caller runs on; 0 outside of the workers.
    pub fn current_index() -> usize {
        INDEX.get()
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the system provides no thread or no event queue.
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
                runtime.shutdown_background(); // a running name lookup must not delay the exit
            };
            let thread = thread::Builder::new().name(format!("worker-{index}"));
            workers.threads.push(thread.spawn(run)?);
        }
        Ok(workers)
    }

    /// The workers in turn, without end.
    pub fn round_robin(&self) -> impl Iterator<Item = &Handle> {
        self.handles.iter().cycle()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shutdown.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // the panic hook has reported a panic
        }
    }
}
