//! The worker threads answer, refuse and skip requests, and survive a panic.

use std::sync::mpsc;

use futures_util::{FutureExt, future::join_all};
use tokio::sync::oneshot;

use super::*;
use crate::classifier::{
    Classification,
    error::InferenceError,
    excerpt::Excerpt,
    inference::{BatchLimits, ExitMode},
};

type Done<'a> = &'a mut dyn FnMut(usize, Result<Option<Classification>, InferenceError>);
type AnswerReceiver = oneshot::Receiver<Result<Classification, FallbackReason>>;

/// A test fails when a thread takes longer than this.
const TIMEOUT: Duration = Duration::from_secs(20);
const LIMITS: BatchLimits = BatchLimits {
    rows: 16,
    cost: u64::MAX,
};

/// Panics at the text "panic". Its score identifies it.
struct Fragile(f64);

impl Inference for Fragile {
    fn classify(&mut self, excerpts: &[Excerpt], _: ExitMode, done: Done<'_>) {
        for (index, excerpt) in excerpts.iter().enumerate() {
            assert_ne!(&*excerpt.head, "panic");
            let classification = Classification {
                score: self.0,
                domain: None,
                tokens: 1,
                truncated: false,
                unreadable: false,
            };
            done(index, Ok(Some(classification)));
        }
    }

    fn has_exit(&self) -> bool {
        false
    }

    fn batch_limits(&self, _: ExitMode) -> BatchLimits {
        LIMITS
    }
}

/// Reports the texts of each batch, and waits for permission to answer.
struct Gated {
    started: mpsc::Sender<Vec<String>>,
    go: mpsc::Receiver<()>,
}

/// The test's side of a [`Gated`] model.
struct Gate {
    started: mpsc::Receiver<Vec<String>>,
    go: mpsc::Sender<()>,
}

impl Gated {
    fn new() -> (Self, Gate) {
        let ((send_started, started), (send_go, go)) = (mpsc::channel(), mpsc::channel());
        let model = Self {
            started: send_started,
            go,
        };
        let gate = Gate {
            started,
            go: send_go,
        };
        (model, gate)
    }
}

impl Gate {
    /// The texts of the next batch.
    fn started(&self) -> Vec<String> {
        self.started.recv_timeout(TIMEOUT).unwrap()
    }
}

impl Inference for Gated {
    fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
        let texts = excerpts.iter().map(|excerpt| excerpt.head.to_string());
        self.started.send(texts.collect()).unwrap();
        self.go.recv_timeout(TIMEOUT).unwrap();
        Fragile(0.1).classify(excerpts, exit_mode, done);
    }

    fn has_exit(&self) -> bool {
        false
    }

    fn batch_limits(&self, _: ExitMode) -> BatchLimits {
        LIMITS
    }
}

/// A model whose exit is confident only about "plain".
struct WithExit;

impl Inference for WithExit {
    fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
        for (index, excerpt) in excerpts.iter().enumerate() {
            if exit_mode == ExitMode::ExitOnly && &*excerpt.head != "plain" {
                done(index, Ok(None));
                continue;
            }
            Fragile(0.1).classify(&excerpts[index..=index], exit_mode, &mut |_, seen| {
                done(index, seen);
            });
        }
    }

    fn has_exit(&self) -> bool {
        true
    }

    fn batch_limits(&self, exit_mode: ExitMode) -> BatchLimits {
        let rows = if exit_mode == ExitMode::Full { 1 } else { 16 };
        BatchLimits { rows, ..LIMITS }
    }
}

async fn submit(
    pool: &WorkerPool,
    text: &str,
    limit: Option<Duration>,
) -> Result<AnswerReceiver, FallbackReason> {
    let (reply, answer) = oneshot::channel();
    let excerpt = Excerpt::of(text, 16);
    let request = ClassificationRequest {
        excerpt,
        tenant: Tenant::Unknown,
        reply,
    };
    pool.submit(request, limit).await?;
    Ok(answer)
}

async fn score(pool: &WorkerPool, text: &str) -> Result<f64, FallbackReason> {
    let answer = submit(pool, text, None).await?;
    let seen = answer.await.unwrap_or(Err(FallbackReason::Failed));
    seen.map(|seen| seen.score)
}

/// Waits until a condition holds that a thread brings about.
async fn eventually(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < TIMEOUT, "it never happens");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_a_request_with_a_limit_at_once_and_lets_others_wait() {
    let (model, gate) = Gated::new();
    let pool = WorkerPool::start(vec![model], || unreachable!(), 1).unwrap();
    let running = submit(&pool, "running", None).await.unwrap();
    assert_eq!(gate.started(), ["running"]);
    let limit = Some(Duration::from_secs(60));
    let queued = submit(&pool, "queued", limit).now_or_never();
    let queued = queued.unwrap().unwrap();
    let refused = submit(&pool, "refused", limit).now_or_never();
    assert_eq!(refused.unwrap().err(), Some(FallbackReason::Full));
    let mut waiting = Box::pin(submit(&pool, "waiting", None));
    assert!((&mut waiting).now_or_never().is_none());
    for _ in 0..3 {
        gate.go.send(()).unwrap();
    }
    let waiting = waiting.await.unwrap();
    for answer in [running, queued, waiting] {
        assert!(answer.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_request_whose_caller_has_left_is_skipped() {
    let (model, gate) = Gated::new();
    let pool = WorkerPool::start(vec![model], || unreachable!(), 16).unwrap();
    let busy = submit(&pool, "busy", None).await.unwrap();
    assert_eq!(gate.started(), ["busy"], "it runs when the others arrive");
    let mut answers = Vec::new();
    for text in ["left", "stayed", "left too"] {
        answers.push(submit(&pool, text, None).await.unwrap());
    }
    answers.remove(2);
    answers.remove(0);
    gate.go.send(()).unwrap();
    gate.go.send(()).unwrap();
    for answer in answers.into_iter().chain([busy]) {
        assert!(answer.await.unwrap().is_ok());
    }
    assert_eq!(gate.started(), ["stayed"]);
    assert!(gate.started.try_recv().is_err());
}

#[tokio::test]
async fn a_model_that_panics_is_loaded_again_once_and_then_the_pool_is_down() {
    let pool = WorkerPool::start(vec![Fragile(0.1)], || Ok(Fragile(0.2)), 4).unwrap();
    assert_eq!(score(&pool, "fine").await, Ok(0.1));
    assert_eq!(score(&pool, "panic").await, Err(FallbackReason::Failed));
    assert_eq!(score(&pool, "fine").await, Ok(0.2));
    assert!(!pool.is_down());
    assert_eq!(score(&pool, "panic").await, Err(FallbackReason::Failed));
    assert_eq!(score(&pool, "fine").await, Err(FallbackReason::Failed));
    assert!(pool.is_down());
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_again_is_down() {
    let broken = || Err(LoadError::from(std::io::Error::other("gone")));
    let pool = WorkerPool::start(vec![Fragile(0.1)], broken, 4).unwrap();
    assert_eq!(score(&pool, "panic").await, Err(FallbackReason::Failed));
    assert_eq!(score(&pool, "fine").await, Err(FallbackReason::Failed));
    assert!(pool.is_down());
}

#[tokio::test]
async fn a_single_request_gets_the_model_that_worked_last() {
    let models = vec![Fragile(0.1), Fragile(0.2), Fragile(0.3)];
    let pool = WorkerPool::start(models, || unreachable!(), 16).unwrap();
    eventually(|| pool.idle_workers() == 3).await;
    let first = score(&pool, "one").await;
    for _ in 0..10 {
        eventually(|| pool.idle_workers() == 3).await;
        assert_eq!(score(&pool, "another").await, first);
    }
}

#[tokio::test]
async fn the_threads_end_with_the_pool() {
    struct CountedRuns {
        _alive: Arc<()>,
    }
    impl Inference for CountedRuns {
        fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
            Fragile(0.1).classify(excerpts, exit_mode, done);
        }

        fn has_exit(&self) -> bool {
            false
        }

        fn batch_limits(&self, _: ExitMode) -> BatchLimits {
            LIMITS
        }
    }
    let alive = Arc::new(());
    let counted = || CountedRuns {
        _alive: alive.clone(),
    };
    let models = vec![counted(), counted()];
    let pool = WorkerPool::start(models, || unreachable!(), 16).unwrap();
    assert_eq!(score(&pool, "fine").await, Ok(0.1));
    drop(pool);
    eventually(|| Arc::strong_count(&alive) == 1).await;
}

#[tokio::test]
async fn two_models_work_side_by_side() {
    let ((first, first_gate), (second, second_gate)) = (Gated::new(), Gated::new());
    let pool = WorkerPool::start(vec![first, second], || unreachable!(), 256).unwrap();
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(submit(&pool, "a text", None).await.unwrap());
    }
    let started = (first_gate.started(), second_gate.started());
    assert!(
        !started.0.is_empty() && !started.1.is_empty(),
        "both run before either is done"
    );
    for gate in [&first_gate, &second_gate] {
        for _ in 0..8 {
            gate.go.send(()).unwrap();
        }
    }
    for answer in answers {
        assert!(answer.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn texts_that_need_all_layers_are_answered_under_endless_plain_texts() {
    let pool = WorkerPool::start(vec![WithExit, WithExit], || unreachable!(), 256).unwrap();
    let pool = Arc::new(pool);
    let endless = |pool: Arc<WorkerPool>| async move {
        loop {
            assert_eq!(score(&pool, "plain").await, Ok(0.1));
        }
    };
    let plain: Vec<_> = (0..20)
        .map(|_| tokio::spawn(endless(pool.clone())))
        .collect();
    let hard = join_all((0..8).map(|_| score(&pool, "hard")));
    let scores = tokio::time::timeout(TIMEOUT, hard).await.unwrap();
    assert!(scores.iter().all(|score| *score == Ok(0.1)), "{scores:?}");
    for task in plain {
        task.abort();
    }
}

#[tokio::test]
async fn a_request_without_a_limit_is_never_refused_however_many_wait_for_all_layers() {
    let pool = WorkerPool::start(vec![WithExit], || unreachable!(), 4).unwrap();
    let scores = join_all((0..100).map(|_| score(&pool, "hard"))).await;
    assert!(scores.iter().all(|score| *score == Ok(0.1)), "{scores:?}");
}
