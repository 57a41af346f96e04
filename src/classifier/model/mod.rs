//! Loads a model directory and classifies texts with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Classification,
    error::{InferenceError, LoadError},
    excerpt::{EncodedText, Excerpt},
    inference::{BatchLimits, ExitMode, Inference},
    labels::Labels,
    parallelism::Parallelism,
    session::{Session, Shapes},
    tokenizer::TextTokenizer,
};
use crate::config;

/// The file of the network.
const ONNX_FILE: &str = "model.onnx";

/// A loaded model: tokenizer, session and labels.
pub struct LoadedModel {
    tokenizer: Arc<TextTokenizer>,
    session: Session,
    labels: Arc<Labels>,
    shapes: Shapes,
}

impl Inference for LoadedModel {
    fn classify(
        &mut self,
        excerpts: &[Excerpt],
        exit_mode: ExitMode,
        done: &mut dyn FnMut(usize, Result<Option<Classification>, InferenceError>),
    ) {
        let mut texts: Vec<(usize, &EncodedText)> = Vec::with_capacity(excerpts.len());
        for (index, excerpt) in excerpts.iter().enumerate() {
            match self.tokenizer.encode_once(excerpt) {
                Ok(tokens) => texts.push((index, tokens)),
                Err(error) => done(index, Err(InferenceError::Tokenizer(error))),
            }
        }
        texts.sort_by_key(|(_, tokens)| tokens.ids.len());
        let lengths: Vec<usize> = texts.iter().map(|(_, tokens)| tokens.ids.len()).collect();
        for (range, shape) in self.shapes.plan(&lengths) {
            let batch = &texts[range];
            let rows: Vec<&[i64]> = batch
                .iter()
                .map(|(_, tokens)| tokens.ids.as_slice())
                .collect();
            let outputs = self.session.run(&rows, shape, exit_mode, &self.labels);
            for (row, (index, tokens)) in batch.iter().enumerate() {
                let result = match &outputs {
                    Ok(outputs) => self
                        .classification(outputs.row(row), tokens)
                        .map(|seen| Some(seen).filter(|seen| self.is_answer(seen, exit_mode))),
                    Err(error) => Err(InferenceError::Session(error.clone())),
                };
                done(*index, result);
            }
        }
    }

    fn has_exit(&self) -> bool {
        self.session.has_exit() && self.labels.exit.is_some()
    }

    fn max_cost(&self) -> u64 {
        let exit = self.labels.exit.as_ref();
        let full_max_tokens = exit.and_then(|exit| exit.full_max_tokens);
        Excerpt::max_cost(full_max_tokens.unwrap_or(self.max_tokens()))
    }

    fn batch_limits(&self, exit_mode: ExitMode) -> BatchLimits {
        let (rows, tokens) = self.shapes.batch_limits(exit_mode == ExitMode::Full);
        BatchLimits {
            rows,
            cost: Excerpt::cost_of_tokens(tokens),
        }
    }
}

impl LoadedModel {
    /// Loads one copy of the model for each session, and runs each once in its largest shapes.
    ///
    /// # Errors
    /// A file or the library is missing or cannot be used.
    pub fn load_all(options: &config::ClassifierConfig) -> Result<Vec<Self>, LoadError> {
        let (first, parallelism) = Self::load_one(options)?;
        let mut models = Vec::with_capacity(parallelism.sessions);
        for _ in 1..parallelism.sessions {
            models.push(Self::start(
                first.tokenizer.clone(),
                first.labels.clone(),
                options,
                parallelism.threads,
            )?);
        }
        models.push(first);
        Ok(models)
    }

    /// Loads one copy of the model, and runs it once in its largest shapes.
    ///
    /// # Errors
    /// A file or the library is missing or cannot be used.
    pub fn load(options: &config::ClassifierConfig) -> Result<Self, LoadError> {
        Ok(Self::load_one(options)?.0)
    }

    fn load_one(options: &config::ClassifierConfig) -> Result<(Self, Parallelism), LoadError> {
        let folder = options.model_folder();
        let file = |name: &str| existing(folder.join(name));
        let (onnx, tokenizer, config) = (
            file(ONNX_FILE)?,
            file("tokenizer.json")?,
            file("config.json")?,
        );
        let parallelism = Parallelism::for_model(options, &onnx);
        let labels = Labels::load(&config)?;
        let max_tokens = labels
            .max_tokens
            .map_or(options.max_tokens, |limit| limit.min(options.max_tokens));
        let tokenizer = TextTokenizer::load(&tokenizer, max_tokens)?;
        let model = Self::start(
            Arc::new(tokenizer),
            Arc::new(labels),
            options,
            parallelism.threads,
        )?;
        Ok((model, parallelism))
    }

    fn start(
        tokenizer: Arc<TextTokenizer>,
        labels: Arc<Labels>,
        options: &config::ClassifierConfig,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let onnx = options.model_folder().join(ONNX_FILE);
        let shapes = Shapes::new(options.buckets_in_effect().as_ref(), tokenizer.max_tokens());
        let session = Session::load(&onnx, options, &shapes, threads)?;
        let mut model = Self {
            tokenizer,
            session,
            labels,
            shapes,
        };
        model.warm_up().map_err(|error| LoadError::Broken {
            file: onnx,
            why: error.to_string(),
        })?;
        Ok(model)
    }

    /// Runs every shape whose first run is expensive: it allocates memory on a CPU and builds an engine on a GPU. So no request pays for
    /// it, and a model that cannot run is found at the start.
    fn warm_up(&mut self) -> Result<(), InferenceError> {
        for shape in self.shapes.warm_up_shapes() {
            let row = vec![self.labels.pad_id; shape[1]];
            let outputs = self
                .session
                .run(
                    &vec![row.as_slice(); shape[0]],
                    shape,
                    ExitMode::Full,
                    &self.labels,
                )
                .map_err(InferenceError::Session)?;
            self.labels
                .score(outputs.row(0).0)
                .ok_or(InferenceError::NotFinite)?;
        }
        Ok(())
    }

    /// The most tokens that the model reads of a text, including special ones: the smaller of the setting and the model's own limit.
    pub fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    /// The domain labels of the model; empty without a second head.
    pub fn domains(&self) -> &[Arc<str>] {
        &self.labels.domains
    }

    /// False when the classification is that of an exit which is not confident.
    fn is_answer(&self, seen: &Classification, exit_mode: ExitMode) -> bool {
        let exit = self.labels.exit.as_ref();
        exit_mode != ExitMode::ExitOnly || exit.is_none_or(|exit| exit.is_confident(seen))
    }

    fn classification(
        &self,
        (logits, domains): (&[f32], Option<&[f32]>),
        tokens: &EncodedText,
    ) -> Result<Classification, InferenceError> {
        Ok(Classification {
            score: self.labels.score(logits).ok_or(InferenceError::NotFinite)?,
            domain: domains.and_then(|logits| self.labels.domain(logits)),
            tokens: tokens.ids.len(),
            truncated: tokens.truncated,
            unreadable: tokens.unreadable,
        })
    }
}

/// Returns `file` if it exists.
fn existing(file: PathBuf) -> Result<PathBuf, LoadError> {
    if Path::is_file(&file) {
        Ok(file)
    } else {
        Err(LoadError::Missing(file))
    }
}

#[cfg(test)]
mod tests;
