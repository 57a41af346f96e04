//! The ONNX Runtime session: the only place that names `ort`.

mod providers;

use std::{path::Path, sync::OnceLock};

use ort::{
    environment::Environment,
    session::{Session as OrtSession, builder::GraphOptimizationLevel},
    value::TensorRef,
};

use super::{Options, depth::Depth, labels::Labels, load::LoadError, shapes::Shapes};

/// Half of the logit from which on a model with an early exit lets a text leave there: an initializer that a run may override.
const SURE: &str = "early_sure";

/// ONNX Runtime's environment; the library can be loaded once in a process.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// A loaded model. `run` needs it for itself, so one thread owns it.
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
    /// The logits of one row, and its domain logits when the model has them.
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
    /// Loads the library, if it is not loaded yet, and the model, for inferences of these shapes on so many threads.
    pub fn load(
        onnx: &Path,
        options: &Options,
        shapes: &Shapes,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let environment = environment(&options.runtime)?;
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
        let has_exit = overridable.iter().any(|value| value.name() == SURE);
        Ok(Self {
            session,
            has_domains,
            has_exit,
            ids: Vec::new(),
            mask: Vec::new(),
        })
    }

    /// True when the graph has an early exit.
    pub fn has_exit(&self) -> bool {
        self.has_exit
    }

    /// Runs one batch of token ids in this shape, rows and tokens, so deep. What a row lacks is filled up behind its end and masked.
    pub fn run(
        &mut self,
        rows: &[&[i64]],
        shape: [usize; 2],
        depth: Depth,
        labels: &Labels,
    ) -> Result<Outputs, String> {
        let [height, width] = shape;
        self.ids.clear();
        self.mask.clear();
        for row in rows {
            self.ids.extend_from_slice(row);
            self.mask.resize(self.mask.len() + row.len(), 1);
            self.ids
                .resize(self.ids.len() + width - row.len(), labels.pad);
            self.mask.resize(self.ids.len(), 0);
        }
        for _ in rows.len()..height {
            self.mask.push(1); // attention to nothing at all is not a number
            self.ids.resize(self.ids.len() + width, labels.pad);
            self.mask.resize(self.ids.len(), 0);
        }
        self.infer(shape, depth, labels)
            .map_err(|error| error.to_string())
    }

    fn infer(&mut self, shape: [usize; 2], depth: Depth, labels: &Labels) -> ort::Result<Outputs> {
        let ids = TensorRef::from_array_view((shape, self.ids.as_slice()))?;
        let mask = TensorRef::from_array_view((shape, self.mask.as_slice()))?;
        let sure = match depth {
            Depth::Exit => Some([f32::NEG_INFINITY]),
            Depth::Whole => Some([f32::INFINITY]),
            Depth::AsNeeded => None,
        };
        let outputs = match sure.as_ref().filter(|_| self.has_exit) {
            None => self
                .session
                .run(ort::inputs!["input_ids" => ids, "attention_mask" => mask])?,
            Some(sure) => {
                let sure = TensorRef::from_array_view(([0_usize; 0], sure.as_slice()))?;
                self.session
                    .run(ort::inputs!["input_ids" => ids, "attention_mask" => mask, SURE => sure])?
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
            logits: read("logits", labels.count())?,
            width: labels.count(),
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
    options: &Options,
    shapes: &Shapes,
    threads: usize,
) -> Result<OrtSession, BuildError> {
    let mut builder = OrtSession::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_memory_pattern(false)? // plans for shapes that are seldom seen twice
        // Masked attention leaves denormals, with which every product after it takes twice as long. The runtime sets this for its
        // own threads and, once in a process, for the one that loads; those that are started from there inherit it.
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
    // After a failed attempt a second one would read an unloaded library; so look before.
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
