//! What a decision costs over ONNX Runtime's own `run` in the same shape: tokenising, the queue, a thread that wakes, reading
//! the labels.
//!
//! ```text
//! cargo bench --bench overhead                   # the default model
//! cargo bench --bench overhead -- FOLDER         # another that scripts/export_onnx.py wrote, on one thread
//! ```
//!
//! A machine is never equally fast for two minutes, so both sides, and the runtime once more as the control, take turns of some
//! 40 ms. A round gives the ratio of its medians; of 25 rounds the middle ratio is shown, and the 8th and 18th, between which
//! the true one lies with 95 % (a sign test: nothing is assumed of the noise). The control shows what a difference of nothing
//! looks like in the same minute. The bare runtime has a process of its own, since there may be one environment in each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a bench that cannot go on should say where it stopped"
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
use thinkgate::{classifier::Classifier, config};
use tokenizers::Tokenizer;
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 25;
/// The rounds, by rank, between which the median lies with 95 %.
const LIKELY: [usize; 2] = [7, 17];
const TURN: Duration = Duration::from_millis(40);
/// Calls at the beginning of a turn that do not count: the other side has had the caches.
const COLD: usize = 2;
/// The threshold of an exit, which a run may override.
const SURE: &str = "early_sure";
/// The argument that makes this program the bare runtime.
const BARE: &str = "bare-runtime";

fn main() {
    model::without_telemetry();
    if env::args().any(|argument| argument == BARE) {
        return serve_bare(&model::options(0));
    }
    let given: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for folder in &given {
        // Else the default would be measured in the name of another.
        assert!(Path::new(folder).is_dir(), "{folder} is no folder");
    }
    println!(
        "| sessions | tokens | leaves at an exit | runtime, us | of ours tokenising, us | two wakes alone, us | classify / runtime (95 %) | runtime / runtime (95 %) |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (sessions, name) in [(1, "1"), (0, "the default")] {
        let options = config::Classifier {
            sessions,
            threads: 1,
            ..model::options(0)
        };
        let mut sides = Sides::start(&options);
        for leaves in [false, true]
            .into_iter()
            .take(if given.is_empty() { 2 } else { 1 })
        {
            for tokens in [16, 64, 128] {
                let text = Text { leaves, tokens };
                println!("| {name} | {text} | {} |", sides.compare(text));
            }
        }
    }
}

/// A text by how far it goes and how long it is; written as a row of the table has it, and as the other process is told.
#[derive(Clone, Copy)]
struct Text {
    /// True for one that leaves the default model at its exit.
    leaves: bool,
    tokens: usize,
}

impl Display for Text {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        let leaves = if self.leaves { "yes" } else { "no" };
        write!(to, "{} | {leaves}", self.tokens)
    }
}

impl Text {
    fn told(line: &str) -> Self {
        let (tokens, leaves) = line.split_once(" | ").unwrap();
        Self {
            leaves: leaves == "yes",
            tokens: tokens.parse().unwrap(),
        }
    }

    fn words(self) -> String {
        match self.leaves {
            true => model::plain_text(self.tokens),
            false => model::text(self.tokens, 0),
        }
    }
}

/// Both ways to the logits of a text.
struct Sides {
    runtime: Runtime,
    classifier: Classifier,
    tokenizer: Tokenizer,
    bare: Bare,
}

impl Sides {
    fn start(options: &config::Classifier) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            runtime: runtime.unwrap(),
            classifier: Classifier::start(options).unwrap(),
            tokenizer: tokenizer(options),
            bare: Bare::start(&options.model_folder()),
        }
    }

    fn compare(&mut self, which: Text) -> String {
        let text = which.words();
        let (mut ours, mut control, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let mut medians = [0.0; 3];
            // Who comes first changes, so that nobody gains by it.
            for place in 0..3 {
                let side = (round + place) % 3;
                medians[side] = match side {
                    0 => self.classify(&text),
                    _ => self.bare.turn(which),
                };
            }
            ours.push(medians[0] / medians[1]);
            control.push(medians[2] / medians[1]);
            bare.push(medians[1]);
        }
        let tokenising = turn(|| drop(read(&self.tokenizer, &text)));
        let wakes = two_wakes();
        let likely = |ratios: &[f64]| {
            let [low, high] = LIKELY.map(|rank| sorted(ratios)[rank]);
            format!("{:.3} ({low:.3} to {high:.3})", median(ratios))
        };
        let (bare, ours, control) = (median(&bare), likely(&ours), likely(&control));
        format!("{bare:.0} | {tokenising:.0} | {wakes:.0} | {ours} | {control}")
    }

    fn classify(&self, text: &str) -> f64 {
        let seen = || self.runtime.block_on(self.classifier.classify(text));
        turn(|| drop(seen().unwrap()))
    }
}

/// The other process: it is told of a text and answers with the median of a turn.
struct Bare {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Bare {
    fn start(model: &Path) -> Self {
        let mut program = Command::new(env::current_exe().unwrap());
        let piped = program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.arg(BARE).arg(model).spawn().unwrap();
        Self {
            to: process.stdin.take().unwrap(),
            from: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    fn turn(&mut self, text: Text) -> f64 {
        writeln!(self.to, "{text}").unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        answer.trim().parse().unwrap()
    }
}

fn serve_bare(options: &config::Classifier) {
    let (mut session, tokenizer) = (session(options), tokenizer(options));
    for line in stdin().lines() {
        let text = Text::told(&line.unwrap());
        let ids = read(&tokenizer, &text.words());
        assert_eq!(ids.len(), text.tokens, "the text has the length it should");
        if let Some(left) = left_early(&mut session, &ids) {
            assert_eq!(left, text.leaves, "the text leaves where it should");
        }
        println!("{}", turn(|| drop(logits(&mut session, &ids, None))));
    }
}

/// Whether a text leaves the model at an exit, if the model has one: then the answer is the exit's own.
fn left_early(session: &mut Session, ids: &[i64]) -> Option<bool> {
    let overridable = session.overridable_initializers();
    let has_exit = overridable.iter().any(|value| value.name() == SURE);
    has_exit.then(|| logits(session, ids, None) == logits(session, ids, Some([f32::NEG_INFINITY])))
}

fn logits(session: &mut Session, ids: &[i64], sure: Option<[f32; 1]>) -> Vec<f32> {
    let (shape, mask) = ([1, ids.len()], vec![1_i64; ids.len()]);
    let mut inputs = ort::inputs![
        "input_ids" => TensorRef::from_array_view((shape, ids)).unwrap(),
        "attention_mask" => TensorRef::from_array_view((shape, mask.as_slice())).unwrap(),
    ];
    if let Some(sure) = &sure {
        let sure = TensorRef::from_array_view(([0_usize; 0], sure.as_slice())).unwrap();
        inputs.push((SURE.into(), sure.into()));
    }
    let outputs = session.run(inputs).unwrap();
    outputs["logits"].try_extract_tensor().unwrap().1.to_vec()
}

/// The runtime's session, as the classifier's is built for a small model.
fn session(options: &config::Classifier) -> Session {
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

fn tokenizer(options: &config::Classifier) -> Tokenizer {
    Tokenizer::from_file(options.model_folder().join("tokenizer.json")).unwrap()
}

fn read(tokenizer: &Tokenizer, text: &str) -> Vec<i64> {
    let encoding = tokenizer.encode_fast(text, true).unwrap();
    encoding.get_ids().iter().map(|id| i64::from(*id)).collect()
}

/// What the system takes to wake a thread that sleeps, and to be woken by it: the least that work on a thread of its own costs.
fn two_wakes() -> f64 {
    let (asleep, asked) = channel::<()>();
    let (answer, answered) = channel::<()>();
    let thread = thread::spawn(move || {
        while asked.recv().is_ok() {
            answer.send(()).unwrap();
        }
    });
    let took = turn(|| {
        asleep.send(()).unwrap();
        answered.recv().unwrap();
    });
    drop(asleep);
    thread.join().unwrap();
    took
}

/// Microseconds a call takes, the median of a turn.
fn turn(mut call: impl FnMut()) -> f64 {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < TURN || times.len() <= COLD {
        let called = Instant::now();
        call();
        times.push(called.elapsed().as_secs_f64() * 1e6);
    }
    median(&times[COLD..])
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}
