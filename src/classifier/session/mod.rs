//! An ONNX Runtime session: loads a model and runs batches of token ids. Only this module uses `ort`.

mod providers;
mod shapes;

use std::{path::Path, sync::OnceLock};

use ort::{
    environment::Environment,
    session::{Session as OrtSession, builder::GraphOptimizationLevel},
    value::TensorRef,
};

pub use shapes::Shapes;

use super::{error::LoadError, inference::ExitMode, labels::Labels};
use crate::config;

/// The initializer that holds half of the logit from which a text leaves at the early exit. A run may override it.
const EXIT_THRESHOLD: &str = "early_sure";

/// The environment of ONNX Runtime. The library can be loaded only once in a process.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// A loaded model. One worker thread owns it, because `run` needs exclusive access.
pub struct Session {
    session: OrtSession,
    has_domains: bool,
    has_exit: bool,
    ids: Vec<i64>,
    mask: Vec<i64>,
}

/// The logits of one batch.
pub struct Outputs {
    logits: Vec<f32>,
    width: usize,
    domains: Option<(Vec<f32>, usize)>,
}

impl Outputs {
    /// The logits of one row, and its domain logits if the model has any.
    pub fn row(&self, row: usize) -> (&[f32], Option<&[f32]>) {
        let logits = &self.logits[row * self.width..(row + 1) * self.width];
        let domains = self
            .domains
            .as_ref()
            .map(|(all, width)| &all[row * width..(row + 1) * width]);
        (logits, domains)
    }
}

impl Session {
    /// Loads the library, unless it is loaded already, and the model. `threads` is the number of threads of one inference.
    ///
    /// # Errors
    /// The library, the model or an execution provider cannot be used.
    pub fn load(
        onnx: &Path,
        options: &config::ClassifierConfig,
        shapes: &Shapes,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let environment = environment(&options.runtime_library())?;
        let broken = |why: String| LoadError::Broken {
            file: onnx.to_owned(),
            why,
        };
        let session =
            build(environment, onnx, options, shapes, threads).map_err(|error| match error {
                BuildError::Provider(provider, why) => LoadError::Provider { provider, why },
                BuildError::Model(why) => broken(why),
            })?;
        let has = |name: &str, mut outlets: std::slice::Iter<'_, ort::value::Outlet>| {
            outlets.any(|o| o.name() == name)
        };
        for input in ["input_ids", "attention_mask"] {
            if !has(input, session.inputs().iter()) {
                return Err(broken(format!("it has no input `{input}`")));
            }
        }
        if !has("logits", session.outputs().iter()) {
            return Err(broken("it has no output `logits`".into()));
        }
        let has_domains = has("domain_logits", session.outputs().iter());
        let overridable = session.overridable_initializers();
        let has_exit = overridable
            .iter()
            .any(|value| value.name() == EXIT_THRESHOLD);
        Ok(Self {
            session,
            has_domains,
            has_exit,
            ids: Vec::new(),
            mask: Vec::new(),
        })
    }

    /// True when the model has an early exit.
    pub fn has_exit(&self) -> bool {
        self.has_exit
    }

    /// Runs one batch of token ids, padded to `shape` (rows, tokens). Padding goes behind the end of a row and is masked.
    ///
    /// # Errors
    /// ONNX Runtime failed, or an output has another shape than `labels` needs.
    pub fn run(
        &mut self,
        rows: &[&[i64]],
        shape: [usize; 2],
        exit_mode: ExitMode,
        labels: &Labels,
    ) -> Result<Outputs, String> {
        let [height, width] = shape;
        self.ids.clear();
        self.mask.clear();
        for row in rows {
            self.ids.extend_from_slice(row);
            self.mask.resize(self.mask.len() + row.len(), 1);
            self.ids
                .resize(self.ids.len() + width - row.len(), labels.pad_id);
            self.mask.resize(self.ids.len(), 0);
        }
        for _ in rows.len()..height {
            self.mask.push(1); // a fully masked row would give NaN
            self.ids.resize(self.ids.len() + width, labels.pad_id);
            self.mask.resize(self.ids.len(), 0);
        }
        self.infer(shape, exit_mode, labels)
            .map_err(|error| error.to_string())
    }

    fn infer(
        &mut self,
        shape: [usize; 2],
        exit_mode: ExitMode,
        labels: &Labels,
    ) -> ort::Result<Outputs> {
        let ids = TensorRef::from_array_view((shape, self.ids.as_slice()))?;
        let mask = TensorRef::from_array_view((shape, self.mask.as_slice()))?;
        let threshold = match exit_mode {
            ExitMode::ExitOnly => Some([f32::NEG_INFINITY]),
            ExitMode::Full => Some([f32::INFINITY]),
            ExitMode::Auto => None,
        };
        let outputs = match threshold.as_ref().filter(|_| self.has_exit) {
            None => self
                .session
                .run(ort::inputs!["input_ids" => ids, "attention_mask" => mask])?,
            Some(threshold) => {
                let threshold = TensorRef::from_array_view(([0_usize; 0], threshold.as_slice()))?;
                self.session
                    .run(ort::inputs!["input_ids" => ids, "attention_mask" => mask, EXIT_THRESHOLD => threshold])?
            }
        };
        let read = |name: &str, width: usize| {
            let (got, values) = outputs[name].try_extract_tensor::<f32>()?;
            let want = [shape[0] as i64, width as i64];
            match got[..] == want {
                true => Ok(values.to_vec()),
                false => Err(ort::Error::new(format!(
                    "`{name}` has the shape {got}, not {want:?} as config.json says"
                ))),
            }
        };
        let domains = match self.has_domains && !labels.domains.is_empty() {
            true => Some((
                read("domain_logits", labels.domains.len())?,
                labels.domains.len(),
            )),
            false => None,
        };
        Ok(Outputs {
            logits: read("logits", labels.logit_count())?,
            width: labels.logit_count(),
            domains,
        })
    }
}

enum BuildError {
    Provider(&'static str, String),
    Model(String),
}

impl<R> From<ort::Error<R>> for BuildError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Model(error.to_string())
    }
}

fn build(
    environment: &Environment,
    onnx: &Path,
    options: &config::ClassifierConfig,
    shapes: &Shapes,
    threads: usize,
) -> Result<OrtSession, BuildError> {
    let mut builder = OrtSession::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)? // a pattern is planned per shape, and few shapes occur twice
        // Masked attention leaves denormal numbers, and every product with them takes twice as long. The runtime sets this flag for
        // its own threads and, once in a process, for the thread that loads the model. The worker threads inherit it from that one.
        .with_flush_to_zero()?;
    for provider in &options.providers {
        let failed = |why: String| BuildError::Provider(provider.as_str(), why);
        let dispatch = providers::dispatch(*provider, options, shapes)
            .map_err(|error| failed(format!("classifier.engine_cache: {error}")))?;
        builder = builder
            .with_execution_providers([dispatch])
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(builder.commit_from_file(onnx)?)
}

fn environment(library: &Path) -> Result<&'static Environment, LoadError> {
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    // Checked first, because `ort` cannot try again after a failed load.
    if !library.is_file() {
        return Err(LoadError::NoRuntime(library.to_owned()));
    }
    let bad = |why: String| LoadError::BadRuntime {
        file: library.to_owned(),
        why,
    };
    let builder = ort::init_from(library).map_err(|error| bad(error.to_string()))?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(|error| bad(error.to_string()))?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}
