//! One queue in front of the threads that own a model each. Batches form while the models are busy; when one is idle nobody
//! waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_channel::{Receiver, Sender, TryRecvError, TrySendError};
use tokio::sync::oneshot;
use tracing::{Span, error};

use super::{
    Classification, Miss,
    backlog::{Backlog, Place},
    excerpt::Excerpt,
    idle::Idle,
    load::{LoadError, RunError},
};

/// One caller.
pub struct Job {
    /// What is to be judged.
    pub excerpt: Excerpt,
    /// Where the answer goes; closed when the caller left.
    pub reply: oneshot::Sender<Result<Classification, Miss>>,
}

/// What runs the texts of a batch; the loaded model.
pub trait Runs: Send + 'static {
    /// Hands a result for every excerpt, by its index, to `done` as soon as it is there; none depends on the others.
    fn classify(
        &mut self,
        excerpts: &[Excerpt],
        done: &mut dyn FnMut(usize, Result<Classification, RunError>),
    );

    /// How many texts, and how much work as [`Excerpt::size`] counts it, are worth taking at once.
    fn worth(&self) -> (usize, u64);
}

/// The sending side. The threads end when it is dropped.
#[derive(Debug)]
pub struct Queue {
    jobs: Sender<(Job, Place)>,
    backlog: Arc<Backlog>,
    idle: Arc<Idle>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.jobs.close();
        self.idle.wake_all();
    }
}

impl Queue {
    /// Gives each of `models` to a thread of its own, behind one queue of `room` callers. One that panics is made anew by
    /// `again`, once in all; after that, or when it cannot be made, the queue is down.
    pub fn start<R: Runs>(
        models: Vec<R>,
        again: impl Fn() -> Result<R, LoadError> + Send + Sync + 'static,
        room: usize,
    ) -> Result<Self, LoadError> {
        let (jobs, waiting) = async_channel::bounded(room.max(1));
        let shared = Arc::new(Shared {
            again: Box::new(again),
            panicked: AtomicBool::new(false),
            backlog: Arc::new(Backlog::new(models.len())),
            idle: Arc::default(),
            waiting,
        });
        let (backlog, idle) = (shared.backlog.clone(), shared.idle.clone());
        for model in models {
            let shared = shared.clone();
            thread::Builder::new()
                .name("classifier".into())
                .spawn(move || shared.serve(model))?;
        }
        Ok(Self {
            jobs,
            backlog,
            idle,
        })
    }

    /// Joins the queue. Whoever has a `limit` is refused at once when there is no room, or when the answer would likely come
    /// later than that; whoever has none waits for room.
    pub async fn push(&self, job: Job, limit: Option<Duration>) -> Result<(), Miss> {
        let size = job.excerpt.size;
        let joined = match limit {
            None => {
                let place = self.backlog.clone().take(size);
                let sent = self.jobs.send((job, place)).await;
                sent.map_err(|_| Miss::Failed)
            }
            Some(limit) if self.backlog.until_done(size) > limit => Err(Miss::Full),
            Some(_) => {
                let place = self.backlog.clone().take(size);
                self.jobs
                    .try_send((job, place))
                    .map_err(|refusal| match refusal {
                        TrySendError::Full(_) => Miss::Full,
                        TrySendError::Closed(_) => Miss::Failed,
                    })
            }
        };
        if joined.is_ok() {
            self.idle.wake();
        }
        joined
    }

    /// True when nobody serves it any more.
    pub fn is_down(&self) -> bool {
        self.jobs.is_closed()
    }
}

/// What the threads share.
struct Shared<R> {
    again: Box<dyn Fn() -> Result<R, LoadError> + Send + Sync>,
    panicked: AtomicBool,
    backlog: Arc<Backlog>,
    idle: Arc<Idle>,
    waiting: Receiver<(Job, Place)>,
}

impl<R: Runs> Shared<R> {
    fn serve(&self, mut model: R) {
        let mut jobs = Vec::new();
        while self.take(model.worth(), &mut jobs) {
            if self.run(&mut model, &mut jobs) {
                continue;
            }
            match self.remade() {
                Some(fresh) => model = fresh,
                None => {
                    self.waiting.close();
                    while self.waiting.try_recv().is_ok() {} // their callers fall back now
                    self.idle.wake_all();
                    return;
                }
            }
        }
    }

    /// Waits for a job, and takes what waits behind it: as much as is worth it, and no more than this thread's share.
    fn take(&self, (most, work): (usize, u64), jobs: &mut Vec<(Job, Place)>) -> bool {
        let next = || match self.waiting.try_recv() {
            Ok(job) => Some(Some(job)),
            Err(TryRecvError::Closed) => Some(None),
            Err(TryRecvError::Empty) => None,
        };
        let Some(first) = self.idle.wait(next) else {
            return false;
        };
        let share = self.waiting.len() / self.backlog.hands() + 1;
        let mut size = first.0.excerpt.size;
        jobs.push(first);
        while jobs.len() < most.min(share) && size < work {
            let Ok(next) = self.waiting.try_recv() else {
                break;
            };
            size += next.0.excerpt.size;
            jobs.push(next);
        }
        true
    }

    /// Runs the jobs and answers each as soon as it is done; false when the model panicked.
    fn run(&self, model: &mut R, jobs: &mut Vec<(Job, Place)>) -> bool {
        let (excerpts, mut callers): (Vec<_>, Vec<_>) = jobs
            .drain(..)
            .filter(|(job, _)| !job.reply.is_closed()) // the caller left: client gone, or deadline passed
            .map(|(job, place)| (job.excerpt, Some((job.reply, place))))
            .unzip();
        let began = Instant::now();
        let size = excerpts.iter().map(|excerpt| excerpt.size).sum();
        let mut left = excerpts.len();
        let mut answer = |index: usize, result: Result<Classification, RunError>| {
            left = left.saturating_sub(1);
            if left == 0 {
                self.backlog.learn(size, began.elapsed()); // before the last one asks again
            }
            let result = result.map_err(|failure| {
                error!(parent: Span::none(), %failure, "the classifier failed");
                Miss::Failed
            });
            if let Some((reply, place)) = callers.get_mut(index).and_then(Option::take) {
                drop(place); // first: a caller that asks again at once is not behind itself
                let _ = reply.send(result); // nobody left to hear it is fine
            }
        };
        // What a panic may have left half done is dropped with the model, so nothing broken is looked at afterwards.
        catch_unwind(AssertUnwindSafe(|| model.classify(&excerpts, &mut answer))).is_ok()
    }

    /// Another model after a panic, if this was the first one.
    fn remade(&self) -> Option<R> {
        if self.panicked.swap(true, Ordering::Relaxed) {
            error!(parent: Span::none(), "the classifier panicked again; it is down");
            return None;
        }
        match (self.again)() {
            Ok(fresh) => {
                error!(parent: Span::none(), "the classifier panicked; it was loaded again");
                Some(fresh)
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
