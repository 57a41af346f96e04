//! Errors of loading and of running a model.

use std::{io, path::PathBuf};

/// Why a classifier cannot start. The message names the file at fault and the command that repairs it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The library file does not exist.
    #[error("ONNX Runtime is not at {file}: run scripts/setup, or set classifier.runtime to a libonnxruntime.so of version 1.24 or later", file = .0.display())]
    NoRuntime(PathBuf),
    /// The library exists and does not load.
    #[error("ONNX Runtime at {file} cannot be loaded ({why}): run scripts/setup, or set classifier.runtime to a libonnxruntime.so of version 1.24 or later", file = .file.display())]
    BadRuntime {
        /// The library.
        file: PathBuf,
        /// The error of the loader.
        why: String,
    },
    /// A file of the model directory does not exist.
    #[error("the classifier's {file} is missing: set classifier.model to a directory that scripts/export_onnx.py wrote", file = .0.display())]
    Missing(PathBuf),
    /// A file of the model directory exists and cannot be used.
    #[error("the classifier's {file} cannot be used: {why}; write the directory again with scripts/export_onnx.py", file = .file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// `config.json` does not split the labels into reasoning and the others.
    #[error("the classifier's {file} does not say which labels mean reasoning: {why}; its labels are {labels}. Write it with scripts/export_onnx.py --reasoning-labels LABEL,..", file = .file.display())]
    Labels {
        /// The file.
        file: PathBuf,
        /// All its labels.
        labels: String,
        /// What is wrong.
        why: String,
    },
    /// A configured execution provider is not in the library or found no device.
    #[error(
        "classifier.providers: `{provider}` did not load ({why}); remove it, or use the library of the onnxruntime-gpu wheel"
    )]
    Provider {
        /// The provider's name in the configuration.
        provider: &'static str,
        /// The error of ONNX Runtime.
        why: String,
    },
    /// The operating system refused to start a worker thread.
    #[error("cannot start the classifier's thread: {0}")]
    Thread(#[from] io::Error),
}

/// Why one inference failed.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
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
