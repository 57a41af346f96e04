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
        let mut answer = |index: usize, result: Result<Classification, RunError>| {
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
        let ran = catch_unwind(AssertUnwindSafe(|| model.classify(&excerpts, &mut answer)));
        if ran.is_ok() {
            let size = excerpts.iter().map(|excerpt| excerpt.size).sum();
            self.backlog.learn(size, began.elapsed());
        }
        ran.is_ok()
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
mod tests {
    use std::sync::mpsc;

    use super::*;

    type Done<'a> = &'a mut dyn FnMut(usize, Result<Classification, RunError>);

    /// Panics at the word "panic", and is told from others by its score.
    struct Fragile(f64);

    impl Runs for Fragile {
        fn classify(&mut self, excerpts: &[Excerpt], done: Done<'_>) {
            for (index, excerpt) in excerpts.iter().enumerate() {
                assert_ne!(&*excerpt.head, "panic");
                let seen = Classification {
                    score: self.0,
                    domain: None,
                    tokens: 1,
                    truncated: false,
                    unreadable: false,
                };
                done(index, Ok(seen));
            }
        }

        fn worth(&self) -> (usize, u64) {
            (16, u64::MAX)
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
        fn classify(&mut self, excerpts: &[Excerpt], done: Done<'_>) {
            thread::sleep(Duration::from_millis(20) * excerpts.len() as u32);
            Fragile(0.1).classify(excerpts, done);
        }

        fn worth(&self) -> (usize, u64) {
            (16, u64::MAX)
        }
    }

    #[tokio::test]
    async fn whoever_would_be_late_is_refused_at_once() {
        let queue = Queue::start(vec![Slow], || Ok(Slow), 256).unwrap();
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

    /// Says what it is asked for, and waits until it may answer.
    struct Held(mpsc::Sender<String>, mpsc::Receiver<()>);

    impl Runs for Held {
        fn classify(&mut self, excerpts: &[Excerpt], done: Done<'_>) {
            for excerpt in excerpts {
                self.0.send(excerpt.head.to_string()).unwrap();
            }
            self.1.recv().unwrap();
            Fragile(0.1).classify(excerpts, done);
        }

        fn worth(&self) -> (usize, u64) {
            (16, u64::MAX)
        }
    }

    #[tokio::test]
    async fn whoever_left_while_waiting_costs_nothing() {
        let ((asked, asks), (go, goes)) = (mpsc::channel(), mpsc::channel());
        let queue = Queue::start(vec![Held(asked, goes)], || unreachable!(), 16).unwrap();
        let mut answers = Vec::new();
        for text in ["busy", "left", "stayed", "left too"] {
            let (reply, answer) = oneshot::channel();
            let excerpt = Excerpt::of(text, 16);
            queue.push(Job { excerpt, reply }, None).await.unwrap();
            if text == "busy" {
                assert_eq!(
                    asks.recv().unwrap(),
                    text,
                    "it is at work when the others come"
                );
            }
            answers.push(answer);
        }
        answers.remove(3);
        answers.remove(1);
        go.send(()).unwrap();
        go.send(()).unwrap();
        for answer in answers {
            assert!(answer.await.unwrap().is_ok());
        }
        assert_eq!(asks.try_iter().collect::<Vec<_>>(), ["stayed"]);
    }

    #[tokio::test]
    async fn a_model_that_panics_is_loaded_again_once_and_then_the_queue_is_down() {
        let queue = Queue::start(vec![Fragile(0.1)], || Ok(Fragile(0.2)), 4).unwrap();
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
        let queue = Queue::start(vec![Fragile(0.1)], broken, 4).unwrap();
        assert_eq!(score(&queue, "panic").await, Err(Miss::Failed));
        assert_eq!(score(&queue, "fine").await, Err(Miss::Failed));
        assert!(queue.is_down());
    }

    #[tokio::test]
    async fn who_comes_alone_gets_the_model_that_worked_last() {
        let models = vec![Fragile(0.1), Fragile(0.2), Fragile(0.3)];
        let queue = Queue::start(models, || unreachable!(), 16).unwrap();
        let rested = || tokio::time::sleep(Duration::from_millis(20));
        rested().await;
        let first = score(&queue, "one").await;
        for _ in 0..10 {
            rested().await;
            assert_eq!(score(&queue, "another").await, first);
        }
    }

    #[tokio::test]
    async fn the_threads_end_with_the_queue() {
        struct Counted {
            _alive: Arc<()>,
        }
        impl Runs for Counted {
            fn classify(&mut self, excerpts: &[Excerpt], done: Done<'_>) {
                Fragile(0.1).classify(excerpts, done);
            }

            fn worth(&self) -> (usize, u64) {
                (16, u64::MAX)
            }
        }
        let alive = Arc::new(());
        let counted = || Counted {
            _alive: alive.clone(),
        };
        let models = vec![counted(), counted()];
        let queue = Queue::start(models, || unreachable!(), 16).unwrap();
        assert_eq!(score(&queue, "fine").await, Ok(0.1));
        drop(queue);
        let began = Instant::now();
        while Arc::strong_count(&alive) > 1 {
            assert!(began.elapsed() < Duration::from_secs(5), "a thread stays");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn two_models_work_side_by_side() {
        let queue = Queue::start(vec![Slow, Slow], || Ok(Slow), 256).unwrap();
        let (mut answers, began) = (Vec::new(), Instant::now());
        for _ in 0..8 {
            let (reply, answer) = oneshot::channel();
            let excerpt = Excerpt::of("a text", 16);
            queue.push(Job { excerpt, reply }, None).await.unwrap();
            answers.push(answer);
        }
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        let took = began.elapsed();
        assert!(took < Duration::from_millis(8 * 20 - 20), "{took:?}");
    }
}
