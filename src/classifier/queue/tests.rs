//! Who waits, who is refused, who works, and what a panic leaves.

use std::sync::mpsc;

use super::*;
use crate::classifier::inference::BatchLimits;

type Done<'a> = &'a mut dyn FnMut(usize, Result<Option<Classification>, InferenceError>);

/// Panics at the word "panic", and is told from others by its score.
struct Fragile(f64);

impl Inference for Fragile {
    fn classify(&mut self, excerpts: &[Excerpt], _: ExitMode, done: Done<'_>) {
        for (index, excerpt) in excerpts.iter().enumerate() {
            assert_ne!(&*excerpt.head, "panic");
            let seen = Classification {
                score: self.0,
                domain: None,
                tokens: 1,
                truncated: false,
                unreadable: false,
            };
            done(index, Ok(Some(seen)));
        }
    }

    fn has_exit(&self) -> bool {
        false
    }

    fn batch_limits(&self, _: ExitMode) -> BatchLimits {
        BatchLimits {
            rows: 16,
            cost: u64::MAX,
        }
    }
}

async fn score(queue: &Queue, text: &str) -> Result<f64, FallbackReason> {
    let (reply, answer) = oneshot::channel();
    let excerpt = Excerpt::of(text, 16);
    queue.push(Request { excerpt, reply }, None).await?;
    let seen = answer.await.unwrap_or(Err(FallbackReason::Failed));
    seen.map(|seen| seen.score)
}

/// Takes its time with every text.
struct Slow;

impl Inference for Slow {
    fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
        thread::sleep(Duration::from_millis(20) * excerpts.len() as u32);
        Fragile(0.1).classify(excerpts, exit_mode, done);
    }

    fn has_exit(&self) -> bool {
        false
    }

    fn batch_limits(&self, _: ExitMode) -> BatchLimits {
        BatchLimits {
            rows: 16,
            cost: u64::MAX,
        }
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
            .push(Request { excerpt, reply }, Some(Duration::from_millis(210)))
            .await
        {
            Ok(()) => answers.push(answer),
            Err(reason) => assert_eq!(reason, FallbackReason::Full),
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

impl Inference for Held {
    fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
        for excerpt in excerpts {
            self.0.send(excerpt.head.to_string()).unwrap();
        }
        self.1.recv().unwrap();
        Fragile(0.1).classify(excerpts, exit_mode, done);
    }

    fn has_exit(&self) -> bool {
        false
    }

    fn batch_limits(&self, _: ExitMode) -> BatchLimits {
        BatchLimits {
            rows: 16,
            cost: u64::MAX,
        }
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
        queue.push(Request { excerpt, reply }, None).await.unwrap();
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
    assert_eq!(score(&queue, "panic").await, Err(FallbackReason::Failed));
    assert_eq!(score(&queue, "fine").await, Ok(0.2));
    assert!(!queue.is_down());
    assert_eq!(score(&queue, "panic").await, Err(FallbackReason::Failed));
    assert_eq!(score(&queue, "fine").await, Err(FallbackReason::Failed));
    assert!(queue.is_down());
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_again_is_down() {
    let broken = || Err(LoadError::from(std::io::Error::other("gone")));
    let queue = Queue::start(vec![Fragile(0.1)], broken, 4).unwrap();
    assert_eq!(score(&queue, "panic").await, Err(FallbackReason::Failed));
    assert_eq!(score(&queue, "fine").await, Err(FallbackReason::Failed));
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
    impl Inference for Counted {
        fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
            Fragile(0.1).classify(excerpts, exit_mode, done);
        }

        fn has_exit(&self) -> bool {
            false
        }

        fn batch_limits(&self, _: ExitMode) -> BatchLimits {
            BatchLimits {
                rows: 16,
                cost: u64::MAX,
            }
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
        queue.push(Request { excerpt, reply }, None).await.unwrap();
        answers.push(answer);
    }
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(8 * 20 - 20), "{took:?}");
}

/// Is sure of "plain" at the exit; anything else takes it a while.
struct Deep(Duration);

const LAYERS: Duration = Duration::from_millis(20);

impl Inference for Deep {
    fn classify(&mut self, excerpts: &[Excerpt], exit_mode: ExitMode, done: Done<'_>) {
        for (index, excerpt) in excerpts.iter().enumerate() {
            match (&*excerpt.head, exit_mode) {
                ("plain", ExitMode::ExitOnly | ExitMode::Auto) => (),
                (_, ExitMode::ExitOnly) => {
                    done(index, Ok(None));
                    continue;
                }
                _ => thread::sleep(self.0),
            }
            Fragile(0.1).classify(&excerpts[index..=index], exit_mode, &mut |_, seen| {
                done(index, seen)
            });
        }
    }

    fn has_exit(&self) -> bool {
        true
    }

    fn max_cost(&self) -> u64 {
        Excerpt::max_cost(10)
    }

    fn batch_limits(&self, exit_mode: ExitMode) -> BatchLimits {
        BatchLimits {
            rows: if exit_mode == ExitMode::Full { 1 } else { 16 },
            cost: u64::MAX,
        }
    }
}

async fn push(
    queue: &Queue,
    text: &str,
    limit: Option<Duration>,
) -> Result<Answer, FallbackReason> {
    let (reply, answer) = oneshot::channel();
    let excerpt = Excerpt::of(text, 1_000);
    queue.push(Request { excerpt, reply }, limit).await?;
    Ok(answer)
}

type Answer = oneshot::Receiver<Result<Classification, FallbackReason>>;

#[tokio::test]
async fn a_plain_text_does_not_wait_behind_those_that_need_the_layers() {
    let queue = Queue::start(vec![Deep(LAYERS)], || Ok(Deep(LAYERS)), 256).unwrap();
    let mut hard = Vec::new();
    for _ in 0..20 {
        hard.push(push(&queue, "hard", None).await.unwrap());
    }
    for _ in 0..3 {
        let began = Instant::now();
        let answer = push(&queue, "plain", None).await.unwrap();
        assert!(answer.await.unwrap().is_ok());
        let waited = began.elapsed();
        assert!(waited < LAYERS * 6, "not all of their runs: {waited:?}");
    }
    let began = Instant::now();
    for answer in hard {
        assert!(answer.await.unwrap().is_ok());
    }
    assert!(began.elapsed() > LAYERS * 4, "they were waiting meanwhile");
}

#[tokio::test]
async fn under_plain_texts_without_end_those_that_need_the_layers_get_their_turn() {
    let queue =
        Arc::new(Queue::start(vec![Deep(LAYERS), Deep(LAYERS)], || Ok(Deep(LAYERS)), 256).unwrap());
    let flood = |queue: Arc<Queue>| async move {
        loop {
            assert_eq!(score(&queue, "plain").await, Ok(0.1));
        }
    };
    let floods: Vec<_> = (0..20)
        .map(|_| tokio::spawn(flood(queue.clone())))
        .collect();
    let began = Instant::now();
    let mut hard = Vec::new();
    for _ in 0..8 {
        hard.push(push(&queue, "hard", None).await.unwrap());
    }
    for answer in hard {
        assert!(answer.await.unwrap().is_ok());
    }
    let took = began.elapsed();
    assert!(
        took < LAYERS * 40,
        "they wait no longer than for a few others: {took:?}"
    );
    for flood in floods {
        flood.abort();
    }
}

#[tokio::test]
async fn of_those_that_need_the_layers_the_late_ones_are_refused_and_plain_ones_are_not() {
    let queue = Queue::start(vec![Deep(LAYERS)], || Ok(Deep(LAYERS)), 256).unwrap();
    let limit = Some(LAYERS * 10);
    for _ in 0..3 {
        let pace = push(&queue, "hard", None).await.unwrap();
        let other = push(&queue, "hard", None).await.unwrap();
        assert!(pace.await.unwrap().is_ok() && other.await.unwrap().is_ok());
    }
    let began = Instant::now();
    let mut answers = Vec::new();
    for number in 0..100 {
        let text = if number % 4 == 0 { "plain" } else { "hard" };
        answers.push((text, push(&queue, text, limit).await.unwrap()));
    }
    let mut decided = 0;
    for (text, answer) in answers {
        match answer.await.unwrap() {
            Ok(_) if text == "hard" => decided += 1,
            Ok(_) => (),
            Err(reason) => assert_eq!((text, reason), ("hard", FallbackReason::Full)),
        }
    }
    assert!((1..=12).contains(&decided), "{decided} of 75");
    let took = began.elapsed();
    assert!(
        took < LAYERS * 20,
        "nobody is let in who would be late: {took:?}"
    );
}

#[tokio::test]
async fn whoever_has_no_limit_is_never_refused_however_many_wait_for_the_layers() {
    let slow = Duration::from_millis(1);
    let queue = Queue::start(vec![Deep(slow)], move || Ok(Deep(slow)), 4).unwrap();
    let asked = (0..100).map(|_| score(&queue, "hard"));
    let scores = futures_util::future::join_all(asked).await;
    assert!(scores.iter().all(|score| *score == Ok(0.1)), "{scores:?}");
}

#[tokio::test]
async fn a_long_text_of_which_the_layers_read_little_is_not_refused_for_its_length() {
    let queue = Queue::start(vec![Deep(LAYERS)], || Ok(Deep(LAYERS)), 256).unwrap();
    for _ in 0..3 {
        let asked = (0..3).map(|_| score(&queue, "hard"));
        futures_util::future::join_all(asked).await;
    }
    let mut answers = Vec::new();
    for _ in 0..3 {
        let joined = push(&queue, &"hard ".repeat(1_000), Some(LAYERS * 10)).await;
        answers.push(joined.unwrap());
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap().map(|seen| seen.score), Ok(0.1));
    }
}
