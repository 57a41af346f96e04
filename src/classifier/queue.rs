//! One queue in front of the thread that owns the model. Batches form while the model is busy; when it is idle nobody waits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use tokio::sync::{mpsc, oneshot};
use tracing::{Span, error};

use super::{
    Classification, Miss,
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
        thread::Builder::new()
            .name("classifier".into())
            .spawn(move || serve(model, again, waiting))?;
        Ok(Self { jobs })
    }

    /// Joins the queue. A patient caller waits for room; any other is refused at once.
    pub async fn push(&self, job: Job, patient: bool) -> Result<(), Miss> {
        match patient {
            true => self.jobs.send(job).await.map_err(|_| Miss::Failed),
            false => self.jobs.try_send(job).map_err(|refusal| match refusal {
                mpsc::error::TrySendError::Full(_) => Miss::Full,
                mpsc::error::TrySendError::Closed(_) => Miss::Failed,
            }),
        }
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
) {
    let mut again = Some(again);
    let mut jobs = Vec::with_capacity(MOST_IN_BATCH);
    while waiting.blocking_recv_many(&mut jobs, MOST_IN_BATCH) > 0 {
        let (excerpts, replies): (Vec<_>, Vec<_>) = jobs
            .drain(..)
            .filter(|job| !job.reply.is_closed()) // the caller left: client gone, or deadline passed
            .map(|job| (job.excerpt, job.reply))
            .unzip();
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
        queue.push(Job { excerpt, reply }, true).await?;
        let seen = answer.await.unwrap_or(Err(Miss::Failed));
        seen.map(|seen| seen.score)
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
