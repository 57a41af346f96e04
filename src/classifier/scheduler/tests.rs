//! Which requests are admitted and in which order they run, with simulated workers in simulated time.

use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::classifier::{Classification, error::InferenceError, inference::BatchLimits};

/// How long a run up to the exit takes.
const EXIT: Duration = Duration::from_millis(1);
/// The most requests that wait in a lane.
const CAPACITY: usize = 256;
/// How long all layers take for one text.
const LAYERS: Duration = Duration::from_millis(20);

/// A model that is confident about "plain" at its exit, or one without an exit.
struct FakeModel {
    has_exit: bool,
    /// How long all layers take for one text.
    layers: Duration,
}

impl FakeModel {
    fn leaves_early(&self, text: &str) -> bool {
        self.has_exit && text == "plain"
    }

    /// How long a batch takes.
    fn duration(&self, excerpts: &[Excerpt], exit_mode: ExitMode) -> Duration {
        let needs_layers = |excerpt: &&Excerpt| !self.leaves_early(&excerpt.head);
        match exit_mode {
            ExitMode::ExitOnly => EXIT,
            _ => EXIT.max(self.layers * excerpts.iter().filter(needs_layers).count() as u32),
        }
    }
}

impl Inference for FakeModel {
    fn classify(
        &mut self,
        excerpts: &[Excerpt],
        exit_mode: ExitMode,
        done: &mut dyn FnMut(usize, Result<Option<Classification>, InferenceError>),
    ) {
        for (index, excerpt) in excerpts.iter().enumerate() {
            let classification = Classification {
                score: 0.1,
                domain: None,
                tokens: 1,
                truncated: false,
                unreadable: false,
            };
            let is_answer = exit_mode != ExitMode::ExitOnly || self.leaves_early(&excerpt.head);
            done(index, Ok(is_answer.then_some(classification)));
        }
    }

    fn has_exit(&self) -> bool {
        self.has_exit
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

type AnswerReceiver = oneshot::Receiver<Result<Classification, FallbackReason>>;

struct Worker {
    history: WorkerHistory,
    running: Option<(Batch, Instant)>,
}

struct Simulation {
    scheduler: Scheduler,
    model: FakeModel,
    workers: Vec<Worker>,
    now: Instant,
    /// The mode of every batch that has started.
    runs: Vec<ExitMode>,
}

impl Simulation {
    fn new(workers: usize, has_exit: bool) -> Self {
        let now = Instant::now();
        let worker = || Worker {
            history: WorkerHistory::new(now),
            running: None,
        };
        Self {
            scheduler: Scheduler::new(workers, CAPACITY),
            model: FakeModel {
                has_exit,
                layers: LAYERS,
            },
            workers: (0..workers).map(|_| worker()).collect(),
            now,
            runs: Vec::new(),
        }
    }

    fn submit(
        &mut self,
        text: &str,
        limit: Option<Duration>,
    ) -> Result<AnswerReceiver, FallbackReason> {
        self.submit_as(Tenant::Unknown, text, limit)
    }

    /// Submits a request as the worker pool does.
    fn submit_as(
        &mut self,
        tenant: Tenant,
        text: &str,
        limit: Option<Duration>,
    ) -> Result<AnswerReceiver, FallbackReason> {
        let (reply, answer) = oneshot::channel();
        let excerpt = Excerpt::of(text, 1_000);
        let backlog = self.scheduler.backlog().clone();
        let (cost, due) = (excerpt.cost, limit.map(|limit| self.now + limit));
        if self.scheduler.is_too_late(&tenant, cost, due, self.now) {
            return Err(FallbackReason::Full);
        }
        let is_full = self.scheduler.exit.queue.len() >= CAPACITY;
        if due.is_some() && is_full && !self.scheduler.displace_for(&tenant) {
            return Err(FallbackReason::Full);
        }
        let request = ClassificationRequest {
            excerpt,
            tenant,
            reply,
        };
        let queued = Queued::new(request, &backlog, cost, due, self.now);
        assert!(self.scheduler.push(queued).is_ok());
        Ok(answer)
    }

    fn submit_all(&mut self, text: &str, count: usize) -> Vec<AnswerReceiver> {
        (0..count)
            .map(|_| self.submit(text, None).unwrap())
            .collect()
    }

    /// Starts a batch on every free worker, then moves the time to when the first one is done. False when there is nothing to do.
    fn step(&mut self) -> bool {
        self.start_batches();
        self.finish_batch(None)
    }

    /// Lets the workers work until `end`.
    fn run_until(&mut self, end: Instant) {
        self.start_batches();
        while self.finish_batch(Some(end)) {
            self.start_batches();
        }
        self.now = end;
    }

    fn start_batches(&mut self) {
        for worker in self.workers.iter_mut().filter(|w| w.running.is_none()) {
            let batch = self
                .scheduler
                .next_batch(&self.model, &mut worker.history, self.now);
            if let Some(batch) = batch {
                let took = self.model.duration(&batch.excerpts, batch.exit_mode);
                self.runs.push(batch.exit_mode);
                worker.running = Some((batch, self.now + took));
            }
        }
    }

    /// Moves the time to when the first running batch is done. False when none is done by `end`.
    fn finish_batch(&mut self, end: Option<Instant>) -> bool {
        let busy = self.workers.iter_mut().filter(|w| w.running.is_some());
        let Some(worker) = busy.min_by_key(|w| w.running.as_ref().map(|(_, done)| *done)) else {
            return false;
        };
        let is_in_time = |(_, done): &mut (Batch, Instant)| end.is_none_or(|end| *done <= end);
        let Some((batch, done)) = worker.running.take_if(is_in_time) else {
            return false;
        };
        self.now = done;
        let (lane, exit_mode) = (batch.lane, batch.exit_mode);
        let (excerpts, mut waiters) = batch.into_parts();
        self.model
            .classify(&excerpts, exit_mode, &mut |index, result| {
                waiters.answer(index, result, done);
            });
        let unanswered = waiters.unanswered(excerpts);
        self.scheduler
            .requeue(unanswered, self.model.max_cost(), done);
        worker.history.record_done(lane, done);
        true
    }

    fn run_until_idle(&mut self) {
        while self.step() {}
    }

    fn full_runs(&self) -> usize {
        let is_full = |run: &&ExitMode| **run == ExitMode::Full;
        self.runs.iter().filter(is_full).count()
    }
}

#[test]
fn requests_that_would_be_late_are_refused_and_the_others_are_in_time() {
    let mut simulation = Simulation::new(1, false);
    let mut first = simulation.submit("first", None).unwrap();
    simulation.run_until_idle();
    assert!(first.try_recv().unwrap().is_ok());
    let (submitted, limit) = (simulation.now, Duration::from_millis(210));
    let mut answers = Vec::new();
    for _ in 0..100 {
        match simulation.submit("later", Some(limit)) {
            Ok(answer) => answers.push(answer),
            Err(reason) => assert_eq!(reason, FallbackReason::Full),
        }
    }
    assert_eq!(answers.len(), 10, "210 ms are enough for ten of 20 ms");
    simulation.run_until_idle();
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
    assert!(simulation.now - submitted <= limit);
}

#[test]
fn two_workers_share_what_waits() {
    let mut simulation = Simulation::new(2, false);
    let submitted = simulation.now;
    let answers = simulation.submit_all("a text", 8);
    simulation.run_until_idle();
    for mut answer in answers {
        assert!(answer.try_recv().unwrap().is_ok());
    }
    let took = simulation.now - submitted;
    assert!(took < LAYERS * 7, "{took:?}");
}

#[test]
fn a_plain_text_does_not_wait_behind_those_that_need_all_layers() {
    let mut simulation = Simulation::new(1, true);
    let hard = simulation.submit_all("hard", 20);
    for _ in 0..3 {
        let (submitted, full_runs) = (simulation.now, simulation.full_runs());
        let mut answer = simulation.submit("plain", None).unwrap();
        while answer.try_recv().is_err() {
            assert!(simulation.step(), "the plain text is never answered");
        }
        let waited = simulation.now - submitted;
        assert!(waited < LAYERS * 6, "{waited:?}");
        assert!(simulation.full_runs() - full_runs < 6);
    }
    assert!(simulation.full_runs() < 20 - 4, "the others still wait");
    simulation.run_until_idle();
    for mut answer in hard {
        assert!(answer.try_recv().unwrap().is_ok());
    }
}

#[test]
fn texts_that_need_all_layers_get_their_turn_under_endless_plain_texts() {
    let mut simulation = Simulation::new(2, true);
    let mut plain = simulation.submit_all("plain", 20);
    for _ in 0..10 {
        simulation.step();
    }
    let submitted = simulation.now;
    let mut hard = simulation.submit_all("hard", 8);
    while !hard.is_empty() {
        simulation.step();
        hard.retain_mut(|answer| answer.try_recv().is_err());
        plain.retain_mut(|answer| answer.try_recv().is_err());
        plain.extend(simulation.submit_all("plain", 20 - plain.len()));
        let waited = simulation.now - submitted;
        assert!(waited < LAYERS * 40, "{waited:?}");
    }
}

#[test]
fn late_texts_that_need_all_layers_are_refused_and_plain_ones_are_not() {
    let mut simulation = Simulation::new(1, true);
    for _ in 0..3 {
        let answers = simulation.submit_all("hard", 2);
        simulation.run_until_idle();
        for mut answer in answers {
            assert!(answer.try_recv().unwrap().is_ok());
        }
    }
    let (submitted, limit) = (simulation.now, LAYERS * 10);
    let mut answers = Vec::new();
    for number in 0..100 {
        let text = if number % 4 == 0 { "plain" } else { "hard" };
        answers.push((text, simulation.submit(text, Some(limit)).unwrap()));
    }
    simulation.run_until_idle();
    let mut classified = 0;
    for (text, mut answer) in answers {
        match answer.try_recv().unwrap() {
            Ok(_) if text == "hard" => classified += 1,
            Ok(_) => (),
            Err(reason) => assert_eq!((text, reason), ("hard", FallbackReason::Full)),
        }
    }
    assert!((1..=12).contains(&classified), "{classified} of 75");
    let took = simulation.now - submitted;
    assert!(took < LAYERS * 20, "too many are admitted: {took:?}");
}

#[test]
fn a_long_text_is_not_refused_for_the_part_that_the_layers_do_not_read() {
    let mut simulation = Simulation::new(1, true);
    for _ in 0..3 {
        let answers = simulation.submit_all("hard", 3);
        simulation.run_until_idle();
        drop(answers);
    }
    let long = "hard ".repeat(1_000);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(simulation.submit(&long, Some(LAYERS * 10)).unwrap());
    }
    simulation.run_until_idle();
    for mut answer in answers {
        assert_eq!(answer.try_recv().unwrap().map(|seen| seen.score), Ok(0.1));
    }
}

#[test]
fn a_request_whose_caller_has_left_does_not_run() {
    let mut simulation = Simulation::new(1, false);
    let answers = simulation.submit_all("a text", 4);
    drop(answers);
    let batch = simulation
        .scheduler
        .next_batch(
            &simulation.model,
            &mut simulation.workers[0].history,
            simulation.now,
        )
        .unwrap();
    assert_eq!((batch.len, batch.excerpts.len()), (4, 0));
}

/// The requests of one tenant in a simulation: sent at a steady rate, each awaited until the deadline.
struct FloodClient {
    tenant: Tenant,
    text: String,
    /// The time between two requests.
    pause: Duration,
    /// The most requests that it waits for; it sends no other while it waits for so many.
    connections: usize,
    waiting: Vec<(Instant, AnswerReceiver)>,
    /// How long every request waited that was decided in time.
    decided: Vec<Duration>,
    sent: usize,
}

const DEADLINE: Duration = Duration::from_millis(100);

impl FloodClient {
    fn new(name: &str, text: String, pause: Duration, connections: usize) -> Self {
        Self {
            tenant: Tenant::Key(name.into()),
            text,
            pause,
            connections,
            waiting: Vec::new(),
            decided: Vec::new(),
            sent: 0,
        }
    }

    /// Takes the answers that are there, and stops waiting for those that are late.
    fn receive(&mut self, now: Instant) {
        let decided = &mut self.decided;
        self.waiting.retain_mut(|(sent, answer)| {
            let waited = now - *sent;
            match answer.try_recv() {
                Ok(Ok(_)) if waited <= DEADLINE => decided.push(waited),
                Err(oneshot::error::TryRecvError::Empty) => return waited < DEADLINE,
                _ => {}
            }
            false
        });
    }

    /// Sends a request if one is due at this moment.
    fn send(&mut self, simulation: &mut Simulation, elapsed: Duration) {
        let is_due = elapsed.as_micros().is_multiple_of(self.pause.as_micros());
        if !is_due || self.waiting.len() >= self.connections {
            return;
        }
        self.sent += 1;
        let limit = Some(DEADLINE.mul_f64(0.6));
        if let Ok(answer) = simulation.submit_as(self.tenant.clone(), &self.text, limit) {
            self.waiting.push((simulation.now, answer));
        }
    }

    /// The share of its requests that were decided in time, and how long the slowest in a hundred of them took.
    fn outcome(&mut self) -> (f64, Duration) {
        self.decided.sort_unstable();
        let p99 = self.decided.len().saturating_sub(1) * 99 / 100;
        let share = self.decided.len() as f64 / self.sent as f64;
        (share, self.decided.get(p99).copied().unwrap_or_default())
    }
}

/// Lets clients send for ten seconds.
fn simulate(simulation: &mut Simulation, clients: &mut [FloodClient]) {
    const TICK: Duration = Duration::from_micros(500);
    let began = simulation.now;
    for tick in 0..20_000 {
        let elapsed = TICK * tick;
        simulation.run_until(began + elapsed);
        for client in &mut *clients {
            client.receive(simulation.now);
            client.send(simulation, elapsed);
        }
    }
}

#[test]
fn a_quiet_key_is_decided_while_another_floods_a_thousand_long_prompts_a_second() {
    for (workers, has_exit, layers) in [(1, true, 3), (2, true, 3), (1, false, 3), (2, false, 8)] {
        let mut simulation = Simulation::new(workers, has_exit);
        simulation.model.layers = Duration::from_millis(layers);
        let long = "hard ".repeat(400);
        let flooding = FloodClient::new("flooding", long, Duration::from_millis(1), 64);
        let every_90_ms = Duration::from_millis(90);
        let quiet = FloodClient::new("quiet", "hard".into(), every_90_ms, 4);
        let mut clients = [flooding, quiet];
        simulate(&mut simulation, &mut clients);
        let [(flooded, _), (share, p99)] = clients.each_mut().map(FloodClient::outcome);
        let named =
            format!("{workers} workers, exit {has_exit}: {share} of the quiet key, {p99:?}");
        assert!(
            clients[0].sent > 1_000 && flooded < 0.9,
            "{flooded} is no flood"
        );
        assert!(share >= 0.98 && p99 < DEADLINE, "{named}");
    }
}

#[test]
fn a_key_that_floods_alone_keeps_the_workers_busy() {
    let mut simulation = Simulation::new(1, false);
    simulation.model.layers = Duration::from_millis(3);
    let every_ms = Duration::from_millis(1);
    let mut clients = [FloodClient::new("alone", "hard".into(), every_ms, 64)];
    simulate(&mut simulation, &mut clients);
    let decided = clients[0].decided.len();
    assert!(decided > 3_000, "{decided} of the 3,333 that are possible");
}

#[test]
fn a_full_queue_makes_place_for_a_key_that_has_less_in_it() {
    let mut simulation = Simulation::new(1, false);
    let limit = Some(Duration::from_secs(60));
    let submit = |simulation: &mut Simulation, name: &str| {
        simulation.submit_as(Tenant::Key(name.into()), "hard", limit)
    };
    let mut flooding = Vec::new();
    while let Ok(answer) = submit(&mut simulation, "flooding") {
        flooding.push(answer);
    }
    assert_eq!(flooding.len(), CAPACITY);
    let mut quiet = submit(&mut simulation, "quiet").unwrap();
    let last = flooding.last_mut().unwrap().try_recv().unwrap();
    assert_eq!(last.err(), Some(FallbackReason::Full));
    assert!(submit(&mut simulation, "flooding").is_err());
    simulation.run_until_idle();
    assert!(quiet.try_recv().unwrap().is_ok());
    let answered = flooding
        .iter_mut()
        .filter_map(|answer| answer.try_recv().ok());
    assert_eq!(answered.filter(Result::is_ok).count(), CAPACITY - 1);
}
