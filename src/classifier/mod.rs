//! Text -> [`Classification`]: does thinking pay, and what is it about.
//!
//! A thread owns each ONNX Runtime session, one a core for a small model; callers wait in one bounded queue, and what queued up
//! while the sessions were busy runs as batches. Nobody waits for room, and a decision no longer than its deadline: the router falls
//! back instead. Scores are kept by the content that was judged, so a score is computed once and never depends on its neighbours.

mod backlog;
mod crew;
mod depth;
mod excerpt;
mod idle;
mod labels;
mod load;
mod lookups;
mod queue;
mod session;
mod shapes;
mod tokenizer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use quick_cache::sync::Cache;
use serde::Serialize;
use tokio::sync::oneshot;

pub use load::LoadError;
pub use lookups::Lookups;
pub use shapes::Buckets;

use self::{
    excerpt::{Excerpt, Fingerprint},
    load::Model,
    queue::{Job, Queue},
};

/// The share of the deadline within which an answer has to be likely for its caller to be let in: what is believed of the wait is a
/// mean, and whoever is let in and then late has waited in vain.
const LIKELY: f64 = 0.6;

/// What the model saw in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// P(reasoning): the probability mass of the reasoning labels, 0 to 1.
    pub score: f64,
    /// The subject, when the model has a second head.
    pub domain: Option<Domain>,
    /// Tokens the model read, special ones included.
    pub tokens: usize,
    /// True when the middle of the text was left out.
    pub truncated: bool,
    /// True when the vocabulary cannot read the text: the score means nothing.
    pub unreadable: bool,
}

/// The subject of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Domain {
    /// One of the model's `domain_labels`.
    pub label: Arc<str>,
    /// Its probability, 0 to 1.
    pub score: f64,
}

/// Why a text has no classification, so that the request gets `routing.fallback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FallbackReason {
    /// `classifier.deadline_ms` passed.
    Late,
    /// `classifier.queue` requests wait already, or the expected wait is longer than three fifths of the deadline.
    Full,
    /// The model failed; the log says how.
    Failed,
    /// The request has no text to classify.
    Nothing,
    /// Too many tokens of the text are unknown to the model's vocabulary.
    Unreadable,
}

impl FallbackReason {
    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Nothing => "nothing",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What a classifier is built from: the `classifier` section of the configuration with its paths found.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The folder with `model.onnx`, `tokenizer.json` and `config.json`.
    pub model: PathBuf,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    /// Execution providers in order of preference.
    pub providers: Vec<Provider>,
    /// Models loaded side by side, each with a thread that owns it; 0: chosen by the model's size and the cores.
    pub sessions: usize,
    /// Threads of one inference; 0: chosen likewise.
    pub threads: usize,
    /// The shapes that inferences are padded to; none: as they come.
    pub buckets: Option<Buckets>,
    /// Where TensorRT keeps the engines it built; none: they are built at every start.
    pub engine_cache: Option<PathBuf>,
    /// Tokens read of a text, special ones included; the head and the tail are kept.
    pub max_tokens: usize,
    /// How long a request waits for its decision.
    pub deadline: Duration,
    /// How many may wait.
    pub queue: usize,
    /// How many scores are kept; 0: none.
    pub cache: usize,
}

/// Where ONNX Runtime runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// NVIDIA CUDA, with the library of `onnxruntime-gpu`.
    Cuda,
    /// NVIDIA TensorRT, with the library of `onnxruntime-gpu`.
    Tensorrt,
}

impl Provider {
    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }
}

/// The classifier: a handle on the threads that own the models. Dropping the last handle ends them.
#[derive(Debug)]
pub struct Classifier {
    queue: Queue,
    cache: Option<Cache<Fingerprint, Classification>>,
    lookups: Arc<Lookups>,
    max_tokens: usize,
    deadline: Duration,
    domains: Vec<Arc<str>>,
}

impl Classifier {
    /// Loads the model and starts its threads; returns when inferences in the largest shapes have shown that it works.
    ///
    /// # Errors
    /// One message that names the file at fault and the command that fixes it.
    pub fn start(options: &Options) -> Result<Self, LoadError> {
        let models = Model::load_crew(options)?;
        let again = options.clone();
        let (max_tokens, domains) = models.first().map_or((0, Vec::new()), |model| {
            (model.max_tokens(), model.domains().to_vec())
        });
        Ok(Self {
            queue: Queue::start(models, move || Model::load(&again), options.queue)?,
            cache: (options.cache > 0).then(|| Cache::new(options.cache)),
            lookups: Arc::default(),
            max_tokens,
            deadline: options.deadline,
            domains,
        })
    }

    /// How long a decision may take, however many texts it asks for: the limit is the caller's to keep.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Classifies `text`, unless so many wait already that the answer is not likely within three fifths of the deadline.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn classify(&self, text: &str) -> Result<Classification, FallbackReason> {
        let limit = self.deadline.mul_f64(LIKELY);
        self.remembered(Excerpt::of(text, self.max_tokens), Some(limit))
            .await
    }

    /// Classifies `text` however long it takes.
    ///
    /// # Errors
    /// Only when the model fails.
    pub async fn classify_patiently(&self, text: &str) -> Result<Classification, FallbackReason> {
        self.remembered(Excerpt::of(text, self.max_tokens), None)
            .await
    }

    /// True when the model failed for good: every further decision falls back.
    pub fn is_down(&self) -> bool {
        self.queue.is_down()
    }

    /// How many scores were remembered, and how many worked out.
    pub fn lookups(&self) -> &Arc<Lookups> {
        &self.lookups
    }

    /// The subjects the model can name; empty without a second head.
    pub fn domains(&self) -> &[Arc<str>] {
        &self.domains
    }

    async fn remembered(
        &self,
        excerpt: Excerpt,
        limit: Option<Duration>,
    ) -> Result<Classification, FallbackReason> {
        self.lookups.ask();
        match &self.cache {
            // Whoever asks for the same content meanwhile waits for the same answer.
            Some(cache) => {
                let fingerprint = excerpt.fingerprint();
                let asked = self.ask(excerpt, limit);
                cache.get_or_insert_async(&fingerprint, asked).await
            }
            None => self.ask(excerpt, limit).await,
        }
    }

    async fn ask(
        &self,
        excerpt: Excerpt,
        limit: Option<Duration>,
    ) -> Result<Classification, FallbackReason> {
        self.lookups.compute();
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job { excerpt, reply }, limit).await?;
        answer.await.unwrap_or(Err(FallbackReason::Failed))
    }
}
