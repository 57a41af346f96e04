//! The worker threads. Each owns one model and runs the batches that the scheduler chooses.

mod idle;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, TryAcquireError};
use tracing::{Span, error};

use self::idle::IdleWorkers;
use super::{
    FallbackReason,
    error::LoadError,
    inference::Inference,
    scheduler::{Backlog, Batch, ClassificationRequest, Lane, Queued, Scheduler, WorkerHistory},
};
use crate::tenant::Tenant;

/// The worker threads and their queue. The threads end when it is dropped.
#[derive(Debug)]
pub struct WorkerPool {
    queue: Arc<Queue>,
}

/// The scheduler, and the workers that wait for it.
struct Queue {
    state: Mutex<QueueState>,
    /// The free places for new requests.
    slots: Semaphore,
    /// The backlog of new requests.
    backlog: Arc<Backlog>,
}

struct QueueState {
    scheduler: Scheduler,
    idle: IdleWorkers,
}

/// What the workers need to replace a model.
struct ModelLoader<R> {
    load: Box<dyn Fn() -> Result<R, LoadError> + Send + Sync>,
    has_panicked: AtomicBool,
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.queue.close(false);
    }
}

impl WorkerPool {
    /// Starts a thread for each of `models`. At most `capacity` requests wait. The first model that panics is replaced with one from
    /// `reload`. After a second panic, or when `reload` fails, the pool is down.
    ///
    /// # Errors
    /// The operating system refused to start a thread.
    pub fn start<R: Inference>(
        models: Vec<R>,
        reload: impl Fn() -> Result<R, LoadError> + Send + Sync + 'static,
        capacity: usize,
    ) -> Result<Self, LoadError> {
        let scheduler = Scheduler::new(models.len(), capacity);
        let pool = Self {
            queue: Arc::new(Queue {
                backlog: scheduler.backlog().clone(),
                state: Mutex::new(QueueState {
                    scheduler,
                    idle: IdleWorkers::default(),
                }),
                slots: Semaphore::new(capacity.max(1)),
            }),
        };
        let reload = Arc::new(ModelLoader {
            load: Box::new(reload),
            has_panicked: AtomicBool::new(false),
        });
        for model in models {
            let (queue, reload) = (pool.queue.clone(), reload.clone());
            thread::Builder::new()
                .name("classifier".into())
                .spawn(move || serve(&queue, model, &reload))?;
        }
        Ok(pool)
    }

    /// Queues a request. With a `limit`, it is refused at once when the answer would probably come after that time, or when the queue is
    /// full and no other tenant has more requests in it. Without one, it waits for a free place.
    ///
    /// # Errors
    /// The request is refused, or the pool is down.
    pub async fn submit(
        &self,
        request: ClassificationRequest,
        limit: Option<Duration>,
    ) -> Result<(), FallbackReason> {
        let queue = &*self.queue;
        if limit.is_none() {
            let slot = queue.slots.acquire().await;
            slot.map_err(|_| FallbackReason::Failed)?.forget(); // it is free again when a worker takes the request
        }
        let now = Instant::now();
        let due = limit.map(|limit| now + limit);
        queue.push(request, due, now)
    }

    /// True when no worker is left after a failure.
    pub fn is_down(&self) -> bool {
        self.queue.slots.is_closed()
    }

    #[cfg(test)]
    fn idle_workers(&self) -> usize {
        self.queue.state.lock().idle.count()
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// Queues a request. One with a due time is judged and gets its place here; another one has its place.
    fn push(
        &self,
        request: ClassificationRequest,
        due: Option<Instant>,
        now: Instant,
    ) -> Result<(), FallbackReason> {
        let cost = request.excerpt.cost;
        let mut state = self.state.lock();
        if due.is_some() {
            self.admit(&mut state.scheduler, &request.tenant, cost, due, now)?;
        }
        let queued = Queued::new(request, &self.backlog, cost, due, now);
        let pushed = state.scheduler.push(queued);
        let idle = state.idle.pop();
        drop(state);
        if let Some(worker) = idle {
            worker.unpark();
        }
        pushed.map_err(|_| FallbackReason::Failed)
    }

    /// Gives a request a place in the queue, unless it would be late.
    fn admit(
        &self,
        scheduler: &mut Scheduler,
        tenant: &Tenant,
        cost: u64,
        due: Option<Instant>,
        now: Instant,
    ) -> Result<(), FallbackReason> {
        if scheduler.is_too_late(tenant, cost, due, now) {
            return Err(FallbackReason::Full);
        }
        match self.slots.try_acquire() {
            Ok(slot) => slot.forget(), // it is free again when a worker takes the request
            Err(TryAcquireError::Closed) => return Err(FallbackReason::Failed),
            // The displaced request leaves its place to this one.
            Err(TryAcquireError::NoPermits) if scheduler.displace_for(tenant) => {}
            Err(TryAcquireError::NoPermits) => return Err(FallbackReason::Full),
        }
        Ok(())
    }

    /// Waits for the next batch; `None` when the queue is closed and empty.
    fn next_batch(&self, model: &impl Inference, history: &mut WorkerHistory) -> Option<Batch> {
        let me = thread::current();
        let mut state = self.state.lock();
        let batch = loop {
            if let Some(batch) = state.scheduler.next_batch(model, history, Instant::now()) {
                break batch;
            }
            if state.scheduler.is_closed() {
                return None;
            }
            state.idle.push(me.clone());
            MutexGuard::unlocked(&mut state, thread::park);
            state.idle.remove(&me); // `park` may also return without a wake-up
        };
        drop(state);
        if batch.lane == Lane::Exit {
            self.slots.add_permits(batch.len);
        }
        Some(batch)
    }

    /// Takes no more requests and lets the workers end. `is_failed`: no worker will run those that are queued, so they are dropped.
    fn close(&self, is_failed: bool) {
        self.slots.close();
        let mut state = self.state.lock();
        state.scheduler.close();
        if is_failed {
            state.scheduler.clear();
        }
        while let Some(worker) = state.idle.pop() {
            worker.unpark();
        }
    }
}

/// Runs batches until the queue is closed or the model cannot be replaced after a panic.
fn serve<R: Inference>(queue: &Queue, mut model: R, reload: &ModelLoader<R>) {
    let mut history = WorkerHistory::new(Instant::now());
    while let Some(batch) = queue.next_batch(&model, &mut history) {
        let lane = batch.lane;
        if run(queue, &mut model, batch) {
            history.record_done(lane, Instant::now());
            continue;
        }
        match reload.reload_model() {
            Some(reloaded) => model = reloaded,
            None => return queue.close(true),
        }
    }
}

/// Runs a batch, answers each request as soon as its result is known, and queues those without an answer again. False when the model
/// panicked.
fn run(queue: &Queue, model: &mut impl Inference, batch: Batch) -> bool {
    let exit_mode = batch.exit_mode;
    let (excerpts, mut waiters) = batch.into_parts();
    // Unwind safe, because the model is dropped after a panic and nothing else is shared with it.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        model.classify(&excerpts, exit_mode, &mut |index, result| {
            waiters.answer(index, result, Instant::now());
        });
    }));
    if ran.is_err() {
        return false;
    }
    let unanswered = waiters.unanswered(excerpts);
    let mut state = queue.state.lock();
    let (max_cost, now) = (model.max_cost(), Instant::now());
    state.scheduler.requeue(unanswered, max_cost, now);
    let idle = state
        .scheduler
        .has_full_lane_queue()
        .then(|| state.idle.pop());
    drop(state);
    if let Some(worker) = idle.flatten() {
        worker.unpark();
    }
    true
}

impl<R> ModelLoader<R> {
    /// Another model after the first panic; `None` after the second one or when it does not load.
    fn reload_model(&self) -> Option<R> {
        if self.has_panicked.swap(true, Ordering::Relaxed) {
            error!(parent: Span::none(), "the classifier panicked again; it is down");
            return None;
        }
        match (self.load)() {
            Ok(model) => {
                error!(parent: Span::none(), "the classifier panicked; it was loaded again");
                Some(model)
            }
            Err(failure) => {
                error!(parent: Span::none(), %failure, "the classifier panicked and cannot be loaded again; it is down");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
