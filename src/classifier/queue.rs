//! One queue in front of the threads that own a model each. Batches form while the models are busy; when one is idle nobody
//! waits.
//!
//! A model with an early exit has two lanes: while texts wait they are first taken to the exit only, many at once, and those of which it
//! is not sure wait anew, for the layers. So a plain text does not wait behind the long runs of others, and how long such a run will be is
//! known before it is let in. The lanes take turns: neither starves the other.

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
    Classification, FallbackReason,
    backlog::{Backlog, Place},
    error::{InferenceError, LoadError},
    excerpt::Excerpt,
    idle::IdleWorkers,
    inference::{ExitMode, Inference},
};

/// One caller.
pub struct Request {
    /// What is to be judged.
    pub excerpt: Excerpt,
    /// Where the answer goes; closed when the caller left.
    pub reply: oneshot::Sender<Result<Classification, FallbackReason>>,
}

/// The sending side. The threads end when it is dropped.
#[derive(Debug)]
pub struct Queue {
    jobs: Sender<Waiting>,
    backlog: Arc<Backlog>,
    idle: Arc<IdleWorkers>,
}

/// A job in a lane.
struct Waiting {
    job: Request,
    place: Place,
    came: Instant,
    /// When an answer is likely to be too late for the caller, if it ever is.
    late: Option<Instant>,
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
    pub fn start<R: Inference>(
        models: Vec<R>,
        again: impl Fn() -> Result<R, LoadError> + Send + Sync + 'static,
        room: usize,
    ) -> Result<Self, LoadError> {
        let shared = Arc::new(Shared {
            again: Box::new(again),
            panicked: AtomicBool::new(false),
            idle: Arc::default(),
            fresh: Lane::new(async_channel::bounded(room.max(1)), models.len()),
            unsure: Lane::new(async_channel::unbounded(), models.len()),
            room,
        });
        let queue = Self {
            jobs: shared.fresh.to.clone(),
            backlog: shared.fresh.backlog.clone(),
            idle: shared.idle.clone(),
        };
        for model in models {
            let shared = shared.clone();
            thread::Builder::new()
                .name("classifier".into())
                .spawn(move || shared.serve(model))?;
        }
        Ok(queue)
    }

    /// Joins the queue. Whoever has a `limit` is refused at once when there is no room, or when the answer would likely come
    /// later than that; whoever has none waits for room.
    pub async fn push(&self, job: Request, limit: Option<Duration>) -> Result<(), FallbackReason> {
        let (size, came) = (job.excerpt.cost, Instant::now());
        if limit.is_some_and(|limit| self.backlog.until_done(size) > limit) {
            return Err(FallbackReason::Full);
        }
        let waiting = Waiting {
            job,
            place: self.backlog.clone().take(size),
            came,
            late: limit.map(|limit| came + limit),
        };
        let joined = match limit {
            None => self
                .jobs
                .send(waiting)
                .await
                .map_err(|_| FallbackReason::Failed),
            Some(_) => self
                .jobs
                .try_send(waiting)
                .map_err(|refusal| match refusal {
                    TrySendError::Full(_) => FallbackReason::Full,
                    TrySendError::Closed(_) => FallbackReason::Failed,
                }),
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

/// Jobs that wait for the same.
struct Lane {
    to: Sender<Waiting>,
    from: Receiver<Waiting>,
    backlog: Arc<Backlog>,
}

impl Lane {
    fn new((to, from): (Sender<Waiting>, Receiver<Waiting>), workers: usize) -> Self {
        Self {
            to,
            from,
            backlog: Arc::new(Backlog::new(workers)),
        }
    }
}

/// Which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Fresh,
    Unsure,
}

/// What the threads share.
struct Shared<R> {
    again: Box<dyn Fn() -> Result<R, LoadError> + Send + Sync>,
    panicked: AtomicBool,
    idle: Arc<IdleWorkers>,
    fresh: Lane,
    /// Those of which the exit was not sure. A thread cannot wait for room in it, so it has no end; whoever has a limit finds it full
    /// where the other is.
    unsure: Lane,
    room: usize,
}

impl<R: Inference> Shared<R> {
    fn lane(&self, which: Which) -> &Lane {
        match which {
            Which::Fresh => &self.fresh,
            Which::Unsure => &self.unsure,
        }
    }

    fn serve(&self, mut model: R) {
        let (mut last, mut free) = (Which::Unsure, Instant::now());
        let mut jobs = Vec::new();
        while let Some((which, exit_mode)) = self.take(&model, last, &mut jobs) {
            last = which;
            // Texts for the layers wait for those for the exit in between, too.
            let began = match which {
                Which::Fresh => Instant::now(),
                Which::Unsure => jobs.first().map_or(free, |first| first.came.max(free)),
            };
            if self.run(&mut model, exit_mode, (which, began), &mut jobs) {
                if which == Which::Unsure {
                    free = Instant::now();
                }
                continue;
            }
            match self.remade() {
                Some(fresh) => model = fresh,
                None => return self.give_up(),
            }
        }
    }

    /// Waits for a job, and takes what waits behind it: as much as is worth it, and no more than this thread's share.
    fn take(&self, model: &R, last: Which, jobs: &mut Vec<Waiting>) -> Option<(Which, ExitMode)> {
        let unsure = || Some((Which::Unsure, self.unsure.from.try_recv().ok()?));
        let next = || {
            if last == Which::Fresh
                && let Some(found) = unsure()
            {
                return Some(Some(found));
            }
            match self.fresh.from.try_recv() {
                Ok(job) => Some(Some((Which::Fresh, job))),
                Err(TryRecvError::Closed) => Some(None),
                Err(TryRecvError::Empty) => unsure().map(Some),
            }
        };
        let (which, first) = self.idle.wait(next)?;
        let Lane { from, backlog, .. } = self.lane(which);
        let is_alone = from.is_empty() && self.unsure.from.is_empty();
        let exit_mode = match which {
            _ if !model.has_exit() => ExitMode::Auto,
            Which::Unsure => ExitMode::Full,
            Which::Fresh if is_alone => ExitMode::Auto,
            Which::Fresh => ExitMode::ExitOnly,
        };
        let limits = model.batch_limits(exit_mode);
        let share = from.len() / backlog.workers() + 1;
        let mut size = first.job.excerpt.cost;
        jobs.push(first);
        while jobs.len() < limits.rows.min(share) && size < limits.cost {
            let Ok(next) = from.try_recv() else {
                break;
            };
            size += next.job.excerpt.cost;
            jobs.push(next);
        }
        Some((which, exit_mode))
    }

    /// Runs the jobs and answers each as soon as it is done; false when the model panicked.
    fn run(
        &self,
        model: &mut R,
        exit_mode: ExitMode,
        (which, began): (Which, Instant),
        jobs: &mut Vec<Waiting>,
    ) -> bool {
        let (excerpts, mut callers): (Vec<_>, Vec<_>) = jobs
            .drain(..)
            .filter(|waiting| !waiting.job.reply.is_closed()) // the caller left: client gone, or deadline passed
            .map(
                |Waiting {
                     job, place, late, ..
                 }| (job.excerpt, Some((job.reply, place, late))),
            )
            .unzip();
        let size = callers
            .iter()
            .flatten()
            .map(|(_, place, _)| place.size())
            .sum();
        // A text alone is no measure of a lane when it may have gone through the layers or not.
        let is_measure = exit_mode != ExitMode::Auto || !model.has_exit();
        let mut left = excerpts.len();
        let mut answer = |index: usize, result: Result<Option<Classification>, InferenceError>| {
            left = left.saturating_sub(1);
            if left == 0 && is_measure {
                self.lane(which).backlog.learn(size, began.elapsed()); // before the last one asks again
            }
            let result = match result {
                Ok(None) => return,
                Ok(Some(seen)) => Ok(seen),
                Err(failure) => {
                    error!(parent: Span::none(), %failure, "the classifier failed");
                    Err(FallbackReason::Failed)
                }
            };
            if let Some((reply, place, _)) = callers.get_mut(index).and_then(Option::take) {
                drop(place); // first: a caller that asks again at once is not behind itself
                let _ = reply.send(result); // nobody left to hear it is fine
            }
        };
        // What a panic may have left half done is dropped with the model, so nothing broken is looked at afterwards.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            model.classify(&excerpts, exit_mode, &mut answer)
        }));
        if ran.is_err() {
            return false;
        }
        for (excerpt, (reply, place, late)) in excerpts
            .into_iter()
            .zip(callers)
            .filter_map(|(excerpt, caller)| Some((excerpt, caller?)))
        {
            drop(place);
            self.wait_anew(Request { excerpt, reply }, model.max_cost(), late);
        }
        if self.unsure.from.len() > 1 {
            self.idle.wake();
        }
        true
    }

    /// Lets a text of which the exit is not sure wait for the layers, or tells its caller that this would be too late.
    fn wait_anew(&self, job: Request, most: u64, late: Option<Instant>) {
        let (size, came) = (job.excerpt.cost.min(most), Instant::now());
        let backlog = &self.unsure.backlog;
        let is_full = self.unsure.from.len() >= self.room;
        if late.is_some_and(|late| is_full || came + backlog.until_done(size) > late) {
            let _ = job.reply.send(Err(FallbackReason::Full));
            return;
        }
        let place = backlog.clone().take(size);
        let waiting = Waiting {
            job,
            place,
            came,
            late,
        };
        // It is closed when nobody serves it any more; dropped, its caller falls back.
        let _ = self.unsure.to.try_send(waiting);
    }

    /// Nobody serves the queue any more: their callers fall back now.
    fn give_up(&self) {
        for lane in [&self.fresh, &self.unsure] {
            lane.from.close();
            while lane.from.try_recv().is_ok() {}
        }
        self.idle.wake_all();
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
