//! A classifier directory becomes a model that works, or one message that says which file is at fault.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Classification, Options,
    crew::Crew,
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
        done: &mut dyn FnMut(usize, Result<Classification, RunError>),
    ) {
        let mut texts: Vec<(usize, Tokens)> = Vec::with_capacity(excerpts.len());
        for (index, excerpt) in excerpts.iter().enumerate() {
            match self.reader.read(excerpt) {
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
            let outputs = self.session.run(&rows, shape, &self.labels);
            for (row, (index, tokens)) in batch.iter().enumerate() {
                let result = match &outputs {
                    Ok(outputs) => self.labelled(outputs.row(row), tokens),
                    Err(error) => Err(RunError::Session(error.clone())),
                };
                done(*index, result);
            }
        }
    }

    fn worth(&self) -> (usize, u64) {
        let (rows, tokens) = self.shapes.worth();
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
                .run(&vec![row.as_slice(); shape[0]], shape, &self.labels)
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
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::{
        classifier::{Buckets, Provider},
        config::locate,
    };

    #[derive(Deserialize)]
    struct Recorded {
        model: String,
        text: String,
        input_ids: Vec<i64>,
        logits: Vec<f32>,
        domain_logits: Option<Vec<f32>>,
    }

    fn fixture(path: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(path)
    }

    fn model(name: &str) -> Model {
        model_in(name, None)
    }

    fn model_in(name: &str, buckets: Option<Buckets>) -> Model {
        let options = Options {
            model: fixture("models").join(name),
            runtime: locate(Path::new("onnx/runtime/libonnxruntime.so")),
            providers: vec![Provider::Cpu],
            sessions: 1,
            threads: 1,
            buckets,
            engine_cache: None,
            max_tokens: 512,
            deadline: Duration::from_secs(1),
            queue: 1,
            cache: 0,
        };
        Model::load(&options).unwrap()
    }

    fn recorded() -> Vec<Recorded> {
        serde_json::from_slice(&std::fs::read(fixture("logits.json")).unwrap()).unwrap()
    }

    #[test]
    fn logits_match_the_training_frameworks_within_a_thousandth() {
        let mut models = [("tiny", model("tiny")), ("subjects", model("subjects"))];
        let mut compared = 0;
        for record in recorded() {
            let model = &mut models
                .iter_mut()
                .find(|(name, _)| *name == record.model)
                .unwrap()
                .1;
            let tokens = model.reader.read(&Excerpt::of(&record.text, 512)).unwrap();
            assert_eq!(tokens.ids, record.input_ids, "{}", record.text);
            let outputs = model
                .session
                .run(&[&tokens.ids], [1, tokens.ids.len()], &model.labels)
                .unwrap();
            let (logits, domains) = outputs.row(0);
            let all = logits.iter().chain(domains.unwrap_or_default());
            let wanted: Vec<f32> = record
                .logits
                .into_iter()
                .chain(record.domain_logits.unwrap_or_default())
                .collect();
            assert_eq!(all.clone().count(), wanted.len());
            for (got, want) in all.zip(&wanted) {
                assert!(
                    (got - want).abs() < 1e-3,
                    "{got} for {want}: {}",
                    record.text
                );
            }
            compared += 1;
        }
        assert!(compared >= 40);
    }

    fn classified(model: &mut Model, texts: &[Excerpt]) -> Vec<Classification> {
        let mut seen: Vec<Option<Classification>> = vec![None; texts.len()];
        model.classify(texts, &mut |index, result| {
            assert!(
                seen[index].replace(result.unwrap()).is_none(),
                "answered twice"
            );
        });
        seen.into_iter().map(Option::unwrap).collect()
    }

    #[test]
    fn a_text_scores_the_same_alone_and_among_others_and_in_a_bucket() {
        let mut models = [model("tiny"), model_in("tiny", Some(Buckets::default()))];
        let texts: Vec<Excerpt> = recorded()
            .iter()
            .map(|record| Excerpt::of(&record.text, 512))
            .collect();
        let alone: Vec<Classification> = texts
            .chunks(1)
            .flat_map(|text| classified(&mut models[0], text))
            .collect();
        for model in &mut models {
            for (alone, among) in alone.iter().zip(classified(model, &texts)) {
                assert!(
                    (alone.score - among.score).abs() < 1e-5,
                    "{} and {}",
                    alone.score,
                    among.score
                );
                assert_eq!(alone.tokens, among.tokens);
            }
        }
    }

    #[test]
    fn head_and_tail_are_kept_when_a_text_is_too_long() {
        let model = model("tiny");
        let words: Vec<String> = (0..2_000).map(|n| format!("word{n}")).collect();
        for text in [words.join(" "), words.join(" ").repeat(20)] {
            let whole = model
                .reader
                .read(&Excerpt {
                    head: text.as_str().into(),
                    tail: None,
                    size: 0,
                })
                .unwrap();
            let cut = model.reader.read(&Excerpt::of(&text, 512)).unwrap();
            assert_eq!((whole.ids.len(), whole.truncated), (512, true));
            assert_eq!((cut.ids.len(), cut.truncated), (512, true));
            assert_eq!(cut.ids[..200], whole.ids[..200], "the head");
            assert_eq!(cut.ids[312..], whole.ids[312..], "the tail");
        }
        assert_eq!(
            model.max_tokens(),
            512,
            "the setting, where the model recommends no less"
        );
        let short = model.reader.read(&Excerpt::of("hello", 512)).unwrap();
        assert!(!short.truncated && !short.unreadable);
        assert!(model.reader.read(&Excerpt::of(" ", 512)).unwrap().ids.len() >= 2);
    }
}
