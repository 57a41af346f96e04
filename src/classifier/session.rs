//! The ONNX Runtime session: the only file that names `ort`.

use std::{num::NonZero, path::Path, sync::OnceLock, thread::available_parallelism};

use ort::{
    environment::Environment,
    ep,
    session::{Session as OrtSession, builder::GraphOptimizationLevel},
    value::TensorRef,
};

use super::{Options, Provider, labels::Labels, load::LoadError};

/// ONNX Runtime's environment; the library can be loaded once in a process.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// A loaded model. `run` needs it for itself, so one thread owns it.
pub struct Session {
    session: OrtSession,
    has_domains: bool,
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
    /// Loads the library, if it is not loaded yet, and the model.
    pub fn load(onnx: &Path, options: &Options) -> Result<Self, LoadError> {
        let environment = environment(&options.runtime)?;
        let broken = |why: String| LoadError::Broken {
            file: onnx.to_owned(),
            why,
        };
        let session = build(environment, onnx, options).map_err(|error| match error {
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
        Ok(Self {
            session,
            has_domains,
        })
    }

    /// Runs one batch of token ids, shorter rows padded behind their end and masked.
    pub fn run(&mut self, rows: &[&[i64]], labels: &Labels) -> Result<Outputs, String> {
        let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * length);
        let mut mask = Vec::with_capacity(rows.len() * length);
        for row in rows {
            ids.extend_from_slice(row);
            mask.resize(mask.len() + row.len(), 1_i64);
            let padded = ids.len() + length - row.len();
            ids.resize(padded, labels.pad);
            mask.resize(padded, 0);
        }
        let shape = [rows.len(), length];
        self.infer(shape, &ids, &mask, labels)
            .map_err(|error| error.to_string())
    }

    fn infer(
        &mut self,
        shape: [usize; 2],
        ids: &[i64],
        mask: &[i64],
        labels: &Labels,
    ) -> ort::Result<Outputs> {
        let outputs = self.session.run(ort::inputs![
            "input_ids" => TensorRef::from_array_view((shape, ids))?,
            "attention_mask" => TensorRef::from_array_view((shape, mask))?,
        ])?;
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
) -> Result<OrtSession, BuildError> {
    let threads = match options.threads {
        0 => available_parallelism().map_or(1, NonZero::get), // honours a pod's quota; the runtime counts the host's cores
        threads => threads,
    };
    let mut builder = OrtSession::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?;
    for provider in &options.providers {
        let (name, dispatch) = match provider {
            Provider::Cpu => ("cpu", ep::CPU::default().build()),
            Provider::Cuda => ("cuda", ep::CUDA::default().build()),
            Provider::Tensorrt => ("tensorrt", ep::TensorRT::default().build()),
        };
        builder = builder
            .with_execution_providers([dispatch.error_on_failure()])
            .map_err(|error| BuildError::Provider(name, error.to_string()))?;
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
