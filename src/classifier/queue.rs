//! One queue in front of the thread that owns the model. Batches form while the model is busy; when it is idle nobody waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use tracing::{Span, error};

use super::{
    Classification, Miss,
    backlog::Backlog,
    excerpt::Excerpt,
    load::{LoadError, RunError},
};

/// Texts that run as one batch at most. More would make the last wait for work that is not its own.
const MOST_IN_BATCH: usize = 16;

/// One caller.
pub struct Job {
    /// What is to be judged.
    pub excerpt: Excerpt,
    /// Where the answer goes; closed when the caller left.
    pub reply: oneshot::Sender<Result<Classification, Miss>>,
}

/// What runs the texts of a batch; the loaded model.
pub trait Runs: Send + 'static {
    /// A result for every excerpt, in their order; none depends on the others.
    fn classify(&mut self, excerpts: &[Excerpt]) -> Vec<Result<Classification, RunError>>;
}

/// The sending side. The thread ends when it is dropped.
#[derive(Debug)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
    backlog: Arc<Backlog>,
}

impl Queue {
    /// Gives `model` to a thread of its own, behind a queue of `room` callers. A model that panics is made anew by `again`,
    /// once; after that, or when it cannot be made, the queue is down.
    pub fn start<R: Runs>(
        model: R,
        again: impl FnOnce() -> Result<R, LoadError> + Send + 'static,
        room: usize,
    ) -> Result<Self, LoadError> {
        let (jobs, waiting) = mpsc::channel(room.max(1));
        let backlog = Arc::new(Backlog::default());
        let served = backlog.clone();
        thread::Builder::new()
            .name("classifier".into())
            .spawn(move || serve(model, again, waiting, &served))?;
        Ok(Self { jobs, backlog })
    }

    /// Joins the queue. Whoever has a `limit` is refused at once when there is no room, or when the answer would likely come
    /// later than that; whoever has none waits for room.
    pub async fn push(&self, job: Job, limit: Option<Duration>) -> Result<(), Miss> {
        let size = job.excerpt.size;
        let Some(limit) = limit else {
            let room = self.jobs.reserve().await.map_err(|_| Miss::Failed)?;
            self.backlog.add(size);
            room.send(job);
            return Ok(());
        };
        if self.backlog.until_done(size) > limit {
            return Err(Miss::Full);
        }
        self.backlog.add(size);
        self.jobs.try_send(job).map_err(|refusal| {
            self.backlog.remove(size);
            match refusal {
                mpsc::error::TrySendError::Full(_) => Miss::Full,
                mpsc::error::TrySendError::Closed(_) => Miss::Failed,
            }
        })
    }

    /// True when nobody serves it any more.
    pub fn is_down(&self) -> bool {
        self.jobs.is_closed()
    }
}

fn serve<R: Runs>(
    mut model: R,
    again: impl FnOnce() -> Result<R, LoadError>,
    mut waiting: mpsc::Receiver<Job>,
    backlog: &Backlog,
) {
    let mut again = Some(again);
    let mut jobs = Vec::with_capacity(MOST_IN_BATCH);
    while waiting.blocking_recv_many(&mut jobs, MOST_IN_BATCH) > 0 {
        let _taken = backlog.until_dropped(jobs.iter().map(|job| job.excerpt.size).sum());
        let (excerpts, replies): (Vec<_>, Vec<_>) = jobs
            .drain(..)
            .filter(|job| !job.reply.is_closed()) // the caller left: client gone, or deadline passed
            .map(|job| (job.excerpt, job.reply))
            .unzip();
        let (began, size) = (
            Instant::now(),
            excerpts.iter().map(|excerpt| excerpt.size).sum(),
        );
        // What a panic may have left half done is dropped with the model, so nothing broken is looked at afterwards.
        let Ok(results) = catch_unwind(AssertUnwindSafe(|| model.classify(&excerpts))) else {
            drop(replies); // their callers fall back now
            match again.take().map(|again| again()) {
                Some(Ok(fresh)) => model = fresh,
                Some(Err(failure)) => {
                    return error!(parent: Span::none(), %failure, "the classifier panicked and cannot be loaded again; it is down");
                }
                None => {
                    return error!(parent: Span::none(), "the classifier panicked again; it is down");
                }
            }
            error!(parent: Span::none(), "the classifier panicked; it was loaded again");
            continue;
        };
        backlog.learn(size, began.elapsed());
        for (result, reply) in results.into_iter().zip(replies) {
            let result = result.map_err(|failure| {
                error!(parent: Span::none(), %failure, "the classifier failed");
                Miss::Failed
            });
            let _ = reply.send(result); // nobody left to hear it is fine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics at the word "panic", and is told from others by its score.
    struct Fragile(f64);

    impl Runs for Fragile {
        fn classify(&mut self, excerpts: &[Excerpt]) -> Vec<Result<Classification, RunError>> {
            let answer = |excerpt: &Excerpt| {
                assert_ne!(&*excerpt.head, "panic");
                Ok(Classification {
                    score: self.0,
                    domain: None,
                    tokens: 1,
                    truncated: false,
                    unreadable: false,
                })
            };
            excerpts.iter().map(answer).collect()
        }
    }

    async fn score(queue: &Queue, text: &str) -> Result<f64, Miss> {
        let (reply, answer) = oneshot::channel();
        let excerpt = Excerpt::of(text, 16);
        queue.push(Job { excerpt, reply }, None).await?;
        let seen = answer.await.unwrap_or(Err(Miss::Failed));
        seen.map(|seen| seen.score)
    }

    /// Takes its time with every text.
    struct Slow;

    impl Runs for Slow {
        fn classify(&mut self, excerpts: &[Excerpt]) -> Vec<Result<Classification, RunError>> {
            thread::sleep(Duration::from_millis(20) * excerpts.len() as u32);
            Fragile(0.1).classify(excerpts)
        }
    }

    #[tokio::test]
    async fn whoever_would_be_late_is_refused_at_once() {
        let queue = Queue::start(Slow, || Ok(Slow), 256).unwrap();
        assert_eq!(score(&queue, "first").await, Ok(0.1));
        let (began, mut answers) = (Instant::now(), Vec::new());
        for _ in 0..100 {
            let (reply, answer) = oneshot::channel();
            let excerpt = Excerpt::of("later", 16);
            match queue
                .push(Job { excerpt, reply }, Some(Duration::from_millis(210)))
                .await
            {
                Ok(()) => answers.push(answer),
                Err(miss) => assert_eq!(miss, Miss::Full),
            }
        }
        assert!(
            began.elapsed() < Duration::from_millis(200),
            "{:?}",
            began.elapsed()
        );
        assert!(
            (2..=11).contains(&answers.len()),
            "{} of 100 were let in",
            answers.len()
        );
        for answer in answers {
            assert!(answer.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn a_model_that_panics_is_loaded_again_once_and_then_the_queue_is_down() {
        let queue = Queue::start(Fragile(0.1), || Ok(Fragile(0.2)), 4).unwrap();
        assert_eq!(score(&queue, "fine").await, Ok(0.1));
        assert_eq!(score(&queue, "panic").await, Err(Miss::Failed));
        assert_eq!(score(&queue, "fine").await, Ok(0.2));
        assert!(!queue.is_down());
        assert_eq!(score(&queue, "panic").await, Err(Miss::Failed));
        assert_eq!(score(&queue, "fine").await, Err(Miss::Failed));
        assert!(queue.is_down());
    }

    #[tokio::test]
    async fn a_model_that_cannot_be_loaded_again_is_down() {
        let broken = || Err(LoadError::from(std::io::Error::other("gone")));
        let queue = Queue::start(Fragile(0.1), broken, 4).unwrap();
        assert_eq!(score(&queue, "panic").await, Err(Miss::Failed));
        assert_eq!(score(&queue, "fine").await, Err(Miss::Failed));
        assert!(queue.is_down());
    }
}
