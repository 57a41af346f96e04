//! Compares a classification with ONNX Runtime's bare `run` in the same shape. The difference is tokenising, the queue, waking a worker
//! thread and reading the labels.
//!
//! ```text
//! cargo bench --bench overhead                   # the default model
//! cargo bench --bench overhead -- FOLDER         # another model from scripts/export_onnx.py, on one thread
//! ```
//!
//! The speed of a machine changes within minutes, so both sides, and the bare runtime once more as the control, take turns of 40 ms. A
//! round gives the ratio of its medians. The output shows the median ratio of 25 rounds, and the 8th and 18th: a confidence interval of
//! 95 % by the sign test, which assumes nothing about the noise. The control shows what no difference looks like at the same time. The
//! bare runtime runs in another process, because a process can have only one environment of ONNX Runtime.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that fails should name the place"
)]

mod model;

use std::{
    env,
    fmt::{self, Display, Formatter},
    io::{BufRead, BufReader, Write, stdin},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use ort::{
    ep,
    session::{Session, builder::GraphOptimizationLevel},
    value::TensorRef,
};
use thinkgate::{classifier::Classifier, config, tenant::Tenant};
use tokenizers::Tokenizer;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 25;
/// The ranks of the ratios that bound the 95 % confidence interval of the median.
const INTERVAL: [usize; 2] = [7, 17];
const TURN: Duration = Duration::from_millis(40);
/// The first calls of a turn, which do not count, because the other side has used the processor's caches.
const WARM_UP_CALLS: usize = 2;
/// The initializer with the threshold of the early exit. A run may override it.
const EXIT_THRESHOLD: &str = "early_sure";
/// The argument with which this program runs as the bare runtime.
const BARE: &str = "bare-runtime";

fn main() {
    model::without_telemetry();
    if env::args().any(|argument| argument == BARE) {
        return serve_bare(&model::options(0));
    }
    let folders: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for folder in &folders {
        // Otherwise a mistyped name would silently measure the default model.
        assert!(Path::new(folder).is_dir(), "{folder} is no folder");
    }
    println!(
        "| sessions | tokens | leaves at an exit | runtime, us | of ours tokenising, us | two wakes alone, us | classify / runtime (95 %) | runtime / runtime (95 %) |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (sessions, name) in [(1, "1"), (0, "the default")] {
        let options = config::ClassifierConfig {
            sessions,
            threads: 1,
            ..model::options(0)
        };
        let mut comparison = Comparison::start(&options);
        for leaves_early in [false, true]
            .into_iter()
            .take(if folders.is_empty() { 2 } else { 1 })
        {
            for tokens in [16, 64, 128] {
                let text = Text {
                    leaves_early,
                    tokens,
                };
                println!("| {name} | {text} | {} |", comparison.run(text));
            }
        }
    }
}

/// A kind of text. Its `Display` form is part of a table row, and the request to the other process.
#[derive(Clone, Copy)]
struct Text {
    /// True when it leaves the default model at its early exit.
    leaves_early: bool,
    tokens: usize,
}

impl Display for Text {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let leaves = if self.leaves_early { "yes" } else { "no" };
        write!(to, "{} | {leaves}", self.tokens)
    }
}

impl Text {
    fn parse(line: &str) -> Self {
        let (tokens, leaves) = line.split_once(" | ").unwrap();
        Self {
            leaves_early: leaves == "yes",
            tokens: tokens.parse().unwrap(),
        }
    }

    fn content(self) -> String {
        match self.leaves_early {
            true => model::early_exit_text(self.tokens),
            false => model::text(self.tokens, 0),
        }
    }
}

/// The classifier and the bare runtime.
struct Comparison {
    runtime: Runtime,
    classifier: Classifier,
    tokenizer: Tokenizer,
    bare: BareRuntime,
}

impl Comparison {
    fn start(options: &config::ClassifierConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            runtime: runtime.unwrap(),
            classifier: Classifier::start(options).unwrap(),
            tokenizer: tokenizer(options),
            bare: BareRuntime::start(&options.model_folder()),
        }
    }

    /// The columns of one table row.
    fn run(&mut self, kind: Text) -> String {
        let text = kind.content();
        let (mut ours, mut control, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let mut medians = [0.0; 3];
            // The order rotates, so that it favours no side.
            for position in 0..3 {
                let side = (round + position) % 3;
                medians[side] = match side {
                    0 => self.classify(&text),
                    _ => self.bare.turn(kind),
                };
            }
            ours.push(medians[0] / medians[1]);
            control.push(medians[2] / medians[1]);
            bare.push(medians[1]);
        }
        let tokenising = turn(|| drop(encode(&self.tokenizer, &text)));
        let wakes = two_wakes();
        let with_interval = |ratios: &[f64]| {
            let [low, high] = INTERVAL.map(|rank| sorted(ratios)[rank]);
            format!("{:.3} ({low:.3} to {high:.3})", median(ratios))
        };
        let (bare, ours, control) = (median(&bare), with_interval(&ours), with_interval(&control));
        format!("{bare:.0} | {tokenising:.0} | {wakes:.0} | {ours} | {control}")
    }

    fn classify(&self, text: &str) -> f64 {
        let seen = || {
            self.runtime
                .block_on(self.classifier.classify(text, &Tenant::Unknown))
        };
        turn(|| drop(seen().unwrap()))
    }
}

/// The other process. It reads a kind of text and answers with the median time of a turn.
struct BareRuntime {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for BareRuntime {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl BareRuntime {
    fn start(model: &Path) -> Self {
        let mut program = Command::new(env::current_exe().unwrap());
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.arg(BARE).arg(model).spawn().unwrap();
        Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn turn(&mut self, text: Text) -> f64 {
        writeln!(self.input, "{text}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }
}

fn serve_bare(options: &config::ClassifierConfig) {
    let (mut session, tokenizer) = (session(options), tokenizer(options));
    for line in stdin().lines() {
        let text = Text::parse(&line.unwrap());
        let ids = encode(&tokenizer, &text.content());
        assert_eq!(ids.len(), text.tokens, "the text has the wrong length");
        if let Some(left_early) = left_early(&mut session, &ids) {
            assert_eq!(
                left_early, text.leaves_early,
                "the text leaves at the wrong place"
            );
        }
        println!("{}", turn(|| drop(logits(&mut session, &ids, None))));
    }
}

/// True when a text leaves the model at its early exit: then its logits are those of the exit. `None` without an exit.
fn left_early(session: &mut Session, ids: &[i64]) -> Option<bool> {
    let overridable = session.overridable_initializers();
    let has_exit = overridable
        .iter()
        .any(|value| value.name() == EXIT_THRESHOLD);
    has_exit.then(|| logits(session, ids, None) == logits(session, ids, Some([f32::NEG_INFINITY])))
}

fn logits(session: &mut Session, ids: &[i64], threshold: Option<[f32; 1]>) -> Vec<f32> {
    let (shape, mask) = ([1, ids.len()], vec![1_i64; ids.len()]);
    let mut inputs = ort::inputs![
        "input_ids" => TensorRef::from_array_view((shape, ids)).unwrap(),
        "attention_mask" => TensorRef::from_array_view((shape, mask.as_slice())).unwrap(),
    ];
    if let Some(threshold) = &threshold {
        let threshold = TensorRef::from_array_view(([0_usize; 0], threshold.as_slice())).unwrap();
        inputs.push((EXIT_THRESHOLD.into(), threshold.into()));
    }
    let outputs = session.run(inputs).unwrap();
    outputs["logits"].try_extract_tensor().unwrap().1.to_vec()
}

/// A session with the settings that the classifier uses for a small model.
fn session(options: &config::ClassifierConfig) -> Session {
    let environment = ort::init_from(options.runtime_library())
        .unwrap()
        .build()
        .unwrap();
    let cpu = ep::CPU::default().with_arena_allocator(true).build();
    let built = || {
        Session::builder(&environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_memory_pattern(false)?
            .with_flush_to_zero()?
            .with_execution_providers([cpu])?
            .commit_from_file(options.model_folder().join("model.onnx"))
    };
    built().unwrap()
}

fn tokenizer(options: &config::ClassifierConfig) -> Tokenizer {
    Tokenizer::from_file(options.model_folder().join("tokenizer.json")).unwrap()
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<i64> {
    let encoding = tokenizer.encode_fast(text, true).unwrap();
    encoding.get_ids().iter().map(|id| i64::from(*id)).collect()
}

/// The time to wake a sleeping thread and to be woken by it: the minimum cost of a worker thread.
fn two_wakes() -> f64 {
    let (send_request, requests) = channel::<()>();
    let (send_answer, answers) = channel::<()>();
    let thread = thread::spawn(move || {
        while requests.recv().is_ok() {
            send_answer.send(()).unwrap();
        }
    });
    let took = turn(|| {
        send_request.send(()).unwrap();
        answers.recv().unwrap();
    });
    drop(send_request);
    thread.join().unwrap();
    took
}

/// The median time of a call in microseconds, over one turn.
fn turn(mut call: impl FnMut()) -> f64 {
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < TURN || times.len() <= WARM_UP_CALLS {
        let called = Instant::now();
        call();
        times.push(called.elapsed().as_secs_f64() * 1e6);
    }
    median(&times[WARM_UP_CALLS..])
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}
