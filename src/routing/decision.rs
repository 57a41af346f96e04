//! The decision for a request, and its labels in headers, logs and metrics.

use std::sync::Arc;

use serde::Serialize;

use crate::{classifier::FallbackReason, config::Mode};

/// The rule that decided, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The client's `x-thinkgate-mode`.
    Header,
    /// The client's own choice in the request's body.
    Client,
    /// The family is not recognised, or the gate is off for this model.
    Unknown,
    /// The model has no switch.
    Fixed,
    /// The request allows fewer tokens than a thought and an answer need.
    Budget,
    /// The request returns a tool's result to the model: the turn keeps its mode.
    ToolLoop,
    /// The classifier's score.
    Classifier,
    /// The classifier gave no score: late, failed, full, or no readable text.
    Fallback,
    /// The server rejected our switch; the request was sent without it.
    Refused,
}

impl Why {
    /// Its label in headers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Client => "client",
            Self::Unknown => "unknown",
            Self::Fixed => "fixed",
            Self::Budget => "budget",
            Self::ToolLoop => "tool_loop",
            Self::Classifier => "classifier",
            Self::Fallback => "fallback",
            Self::Refused => "refused",
        }
    }
}

/// The decision for one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The mode that is sent.
    pub mode: Mode,
    /// The rule that decided.
    pub why: Why,
    /// P(reasoning), rounded to three digits, when one was computed.
    pub score: Option<f64>,
    /// The subject of the prompt, when the classifier has subjects.
    pub domain: Option<Arc<str>>,
    /// Why the classifier did not decide, when `why` is a fallback.
    pub fallback_reason: Option<FallbackReason>,
}

impl Decision {
    pub(super) fn of(mode: Mode, why: Why) -> Self {
        Self {
            mode,
            why,
            score: None,
            domain: None,
            fallback_reason: None,
        }
    }
}

/// Rounds a probability to three digits. Scores are compared in this form, so that the header shows the value that decided.
pub fn round3(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}
