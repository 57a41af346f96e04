//! What is decided for a request, and the words for it in headers, logs and metrics.

use std::sync::Arc;

use serde::Serialize;

use crate::{classifier::FallbackReason, config::Mode};

/// What decided. The order is that of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The client's `x-thinkgate-mode`.
    Header,
    /// A switch in the client's body.
    Client,
    /// The family is not recognised, or the gate is off for this model.
    Unknown,
    /// The model cannot switch.
    Fixed,
    /// The request allows fewer tokens than a thought and an answer need.
    Budget,
    /// A tool's result goes back to the model: the turn keeps its mode.
    ToolLoop,
    /// The classifier's score.
    Classifier,
    /// The classifier was late, failed, full, or had nothing readable to judge.
    Fallback,
    /// The server would not take our switch; the request went on without it.
    Refused,
}

impl Why {
    /// The word in headers, logs and metrics.
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

/// What was decided for one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The mode that is sent.
    pub mode: Mode,
    /// What decided.
    pub why: Why,
    /// P(reasoning), round3 to three digits, when one was computed.
    pub score: Option<f64>,
    /// The subject of the prompt, when the model names one.
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

/// A probability as it is shown and compared: what the header says is what decided.
pub fn round3(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}
