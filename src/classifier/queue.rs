//! One queue in front of the thread that owns the model. Batches form while the model is busy; when it is idle nobody waits.

use std::thread;

use tokio::sync::{mpsc, oneshot};
use tracing::{Span, error};

use super::{
    Classification, Miss,
    excerpt::Excerpt,
    load::{LoadError, Model},
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

/// The sending side. The thread ends when it is dropped.
#[derive(Debug)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
}

impl Queue {
    /// Gives `model` to a thread of its own, behind a queue of `room` callers.
    pub fn start(model: Model, room: usize) -> Result<Self, LoadError> {
        let (jobs, waiting) = mpsc::channel(room.max(1));
        thread::Builder::new()
            .name("classifier".into())
            .spawn(move || serve(model, waiting))?;
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
}

fn serve(mut model: Model, mut waiting: mpsc::Receiver<Job>) {
    let mut jobs = Vec::with_capacity(MOST_IN_BATCH);
    while waiting.blocking_recv_many(&mut jobs, MOST_IN_BATCH) > 0 {
        let (excerpts, replies): (Vec<_>, Vec<_>) = jobs
            .drain(..)
            .filter(|job| !job.reply.is_closed()) // the caller left: client gone, or deadline passed
            .map(|job| (job.excerpt, job.reply))
            .unzip();
        for (result, reply) in model.classify(&excerpts).into_iter().zip(replies) {
            let result = result.map_err(|failure| {
                error!(parent: Span::none(), %failure, "the classifier failed");
                Miss::Failed
            });
            let _ = reply.send(result); // nobody left to hear it is fine
        }
    }
}
