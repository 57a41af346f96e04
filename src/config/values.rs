//! The types of single settings: words from a fixed list, and fixed batch shapes.

use serde::{Deserialize, Serialize};

use super::ClassifierConfig;

/// Whether the model should think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The model thinks before it answers.
    Reasoning,
    /// The model answers at once.
    Direct,
    /// The request is forwarded as the client wrote it, without a switch.
    Unchanged,
}

impl Mode {
    /// The word in the configuration, headers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reasoning => "reasoning",
            Self::Direct => "direct",
            Self::Unchanged => "unchanged",
        }
    }
}

/// An execution provider of ONNX Runtime: the hardware that runs the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// NVIDIA CUDA. Needs the library of `onnxruntime-gpu`.
    Cuda,
    /// NVIDIA TensorRT. Needs the library of `onnxruntime-gpu`.
    Tensorrt,
}

impl Provider {
    /// The word in the configuration and in error messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }
}

/// Fixed batch shapes: every inference is padded to one of `rows` by one of `tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Buckets {
    /// The numbers of texts in a batch, ascending.
    pub rows: Vec<usize>,
    /// The numbers of tokens in a text, ascending. Numbers above `classifier.max_tokens` count as `max_tokens`.
    pub tokens: Vec<usize>,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            rows: vec![1, 8, 64],
            tokens: vec![64, 128, 256, 512],
        }
    }
}

impl ClassifierConfig {
    /// Returns true if no provider needs a graphics card.
    pub fn is_on_cpu(&self) -> bool {
        self.providers.iter().all(|p| *p == Provider::Cpu)
    }

    /// The fixed shapes in effect; `None` if inferences run in the shapes of their texts. A graphics card has kernels and engines
    /// for fixed shapes, so there `buckets: null` means the default ones.
    pub fn buckets_in_effect(&self) -> Option<Buckets> {
        match &self.buckets {
            None if !self.is_on_cpu() => Some(Buckets::default()),
            buckets => buckets.clone(),
        }
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}
