//! The result of classifying a text, or the reason why there is none.

use std::sync::Arc;

use serde::Serialize;

/// The result of classifying one text.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// The probability that reasoning pays, 0 to 1: the sum over the reasoning labels.
    pub score: f64,
    /// The likeliest domain, when the model has a second head.
    pub domain: Option<Domain>,
    /// Tokens that the model read, including special ones.
    pub tokens: usize,
    /// True when the middle of the text was cut out.
    pub truncated: bool,
    /// True when too many tokens are unknown to the vocabulary. The score then means nothing.
    pub unreadable: bool,
}

/// The domain (subject) of a text.
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
