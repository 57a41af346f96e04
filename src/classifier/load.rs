//! A classifier directory becomes a model that works, or one message that says which file is at fault.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Classification, Options,
    crew::Crew,
    depth::Depth,
    excerpt::Excerpt,
    labels::Labels,
    queue::Runs,
    session::Session,
    shapes::Shapes,
    tokenizer::{Reader, Tokens},
};

/// The network's file.
const ONNX: &str = "model.onnx";

/// Why a classifier could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The library is not there.
    #[error("ONNX Runtime is not at {file}: run scripts/setup, or set classifier.runtime to a libonnxruntime.so of version 1.24 or later", file = .0.display())]
    NoRuntime(PathBuf),
    /// The library is there and does not load.
    #[error("ONNX Runtime at {file} cannot be loaded ({why}): run scripts/setup, or set classifier.runtime to a libonnxruntime.so of version 1.24 or later", file = .file.display())]
    BadRuntime {
        /// The library.
        file: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// A file of the directory is not there.
    #[error("the classifier's {file} is missing: set classifier.model to a directory that scripts/export_onnx.py wrote", file = .0.display())]
    Missing(PathBuf),
    /// A file of the directory is there and cannot be used.
    #[error("the classifier's {file} cannot be used: {why}; write the directory again with scripts/export_onnx.py", file = .file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A label that is neither reasoning nor direct.
    #[error("the classifier's {file} does not say which labels mean reasoning: {why}; its labels are {labels}. Write it with scripts/export_onnx.py --reasoning-labels LABEL,..", file = .file.display())]
    Labels {
        /// The file.
        file: PathBuf,
        /// All its labels.
        labels: String,
        /// What is wrong.
        why: String,
    },
    /// An execution provider that was asked for is not in the library or found no device.
    #[error(
        "classifier.providers: `{provider}` did not load ({why}); remove it, or use the library of the onnxruntime-gpu wheel"
    )]
    Provider {
        /// The provider's name in the configuration.
        provider: &'static str,
        /// What ONNX Runtime said.
        why: String,
    },
    /// The operating system gave no thread.
    #[error("cannot start the classifier's thread: {0}")]
    Thread(#[from] io::Error),
}

/// Why one inference failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The tokenizer failed.
    #[error("tokenizer: {0}")]
    Tokenizer(tokenizers::Error),
    /// ONNX Runtime failed, or its outputs do not have the shape they should.
    #[error("{0}")]
    Session(String),
    /// A logit was not finite.
    #[error("a logit is not finite")]
    NotFinite,
}

/// A loaded model: reads texts and classifies them, a batch at a time.
pub struct Model {
    reader: Arc<Reader>,
    session: Session,
    labels: Arc<Labels>,
    shapes: Shapes,
}

impl Runs for Model {
    fn classify(
        &mut self,
        excerpts: &[Excerpt],
        depth: Depth,
        done: &mut dyn FnMut(usize, Result<Option<Classification>, RunError>),
    ) {
        let mut texts: Vec<(usize, &Tokens)> = Vec::with_capacity(excerpts.len());
        for (index, excerpt) in excerpts.iter().enumerate() {
            match self.reader.tokens(excerpt) {
                Ok(tokens) => texts.push((index, tokens)),
                Err(error) => done(index, Err(RunError::Tokenizer(error))),
            }
        }
        texts.sort_by_key(|(_, tokens)| tokens.ids.len());
        let lengths: Vec<usize> = texts.iter().map(|(_, tokens)| tokens.ids.len()).collect();
        for (batch, shape) in self.shapes.plan(&lengths) {
            let batch = &texts[batch];
            let rows: Vec<&[i64]> = batch
                .iter()
                .map(|(_, tokens)| tokens.ids.as_slice())
                .collect();
            let outputs = self.session.run(&rows, shape, depth, &self.labels);
            for (row, (index, tokens)) in batch.iter().enumerate() {
                let result = match &outputs {
                    Ok(outputs) => self
                        .labelled(outputs.row(row), tokens)
                        .map(|seen| Some(seen).filter(|seen| self.is_answer(seen, depth))),
                    Err(error) => Err(RunError::Session(error.clone())),
                };
                done(*index, result);
            }
        }
    }

    fn has_exit(&self) -> bool {
        self.session.has_exit() && self.labels.exit.is_some()
    }

    fn most(&self) -> u64 {
        let read = self.labels.exit.as_ref().and_then(|exit| exit.read);
        Excerpt::most(read.unwrap_or(self.max_tokens()))
    }

    fn worth(&self, depth: Depth) -> (usize, u64) {
        let (rows, tokens) = self.shapes.worth(depth == Depth::Whole);
        (rows, Excerpt::size_of(tokens))
    }
}

impl Model {
    /// Loads `options.model` as often as fits the machine, or as was asked, and runs each once in its largest shapes.
    pub fn load_crew(options: &Options) -> Result<Vec<Self>, LoadError> {
        let (first, crew) = Self::load_one(options)?;
        let mut models = Vec::with_capacity(crew.sessions);
        for _ in 1..crew.sessions {
            models.push(Self::start(
                first.reader.clone(),
                first.labels.clone(),
                options,
                crew.threads,
            )?);
        }
        models.push(first);
        Ok(models)
    }

    /// Loads `options.model` and runs it once in its largest shapes.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        Ok(Self::load_one(options)?.0)
    }

    fn load_one(options: &Options) -> Result<(Self, Crew), LoadError> {
        let file = |name: &str| existing(options.model.join(name));
        let (onnx, tokenizer, config) =
            (file(ONNX)?, file("tokenizer.json")?, file("config.json")?);
        let crew = Crew::of(options, &onnx);
        let labels = Labels::load(&config)?;
        let max_tokens = labels
            .max_tokens
            .map_or(options.max_tokens, |most| most.min(options.max_tokens));
        let reader = Reader::load(&tokenizer, max_tokens)?;
        let model = Self::start(Arc::new(reader), Arc::new(labels), options, crew.threads)?;
        Ok((model, crew))
    }

    fn start(
        reader: Arc<Reader>,
        labels: Arc<Labels>,
        options: &Options,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let onnx = options.model.join(ONNX);
        let shapes = Shapes::new(options.buckets.as_ref(), reader.max_tokens());
        let session = Session::load(&onnx, options, &shapes, threads)?;
        let mut model = Self {
            reader,
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

    /// Runs every shape that costs something the first time: memory on a processor, the build of an engine on a graphics card.
    /// So no request pays for it, and a model that cannot run is found at the start.
    fn warm_up(&mut self) -> Result<(), RunError> {
        for shape in self.shapes.to_warm_up() {
            let row = vec![self.labels.pad; shape[1]];
            let outputs = self
                .session
                .run(
                    &vec![row.as_slice(); shape[0]],
                    shape,
                    Depth::Whole,
                    &self.labels,
                )
                .map_err(RunError::Session)?;
            self.labels
                .score(outputs.row(0).0)
                .ok_or(RunError::NotFinite)?;
        }
        Ok(())
    }

    /// Tokens read of a text, special ones included: the setting, or the model's own limit if that is smaller.
    pub fn max_tokens(&self) -> usize {
        self.reader.max_tokens()
    }

    /// The subjects the model can name.
    pub fn domains(&self) -> &[Arc<str>] {
        &self.labels.domains
    }

    /// False for what an exit says that is not sure of it.
    fn is_answer(&self, seen: &Classification, depth: Depth) -> bool {
        let exit = self.labels.exit.as_ref();
        depth != Depth::Exit || exit.is_none_or(|exit| exit.is_sure(seen))
    }

    fn labelled(
        &self,
        (logits, domains): (&[f32], Option<&[f32]>),
        tokens: &Tokens,
    ) -> Result<Classification, RunError> {
        Ok(Classification {
            score: self.labels.score(logits).ok_or(RunError::NotFinite)?,
            domain: domains.and_then(|logits| self.labels.domain(logits)),
            tokens: tokens.ids.len(),
            truncated: tokens.truncated,
            unreadable: tokens.unreadable,
        })
    }
}

fn existing(file: PathBuf) -> Result<PathBuf, LoadError> {
    if Path::is_file(&file) {
        Ok(file)
    } else {
        Err(LoadError::Missing(file))
    }
}

#[cfg(test)]
mod tests;
