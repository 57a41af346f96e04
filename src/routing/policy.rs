//! The decision, pure: what settles it without the classifier, and what a score means.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Subject, Target, choice};
use crate::{
    classifier::{Classification, Miss},
    openai::ChatRequest,
};

/// What is asked of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Think first.
    Reasoning,
    /// Answer at once.
    Direct,
    /// The client's bytes, untouched.
    Unchanged,
}

impl Mode {
    /// The word in headers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reasoning => "reasoning",
            Self::Direct => "direct",
            Self::Unchanged => "unchanged",
        }
    }
}

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
    /// P(reasoning), rounded to three digits, when one was computed.
    pub score: Option<f64>,
    /// The subject of the prompt, when the model names one.
    pub domain: Option<Arc<str>>,
    /// Why the classifier did not decide, when `why` is a fallback.
    pub miss: Option<Miss>,
}

impl Decision {
    fn of(mode: Mode, why: Why) -> Self {
        Self {
            mode,
            why,
            score: None,
            domain: None,
            miss: None,
        }
    }
}

/// How scores become modes. Built from the `routing` section of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// P(reasoning), rounded to three digits, at or above: reason.
    pub threshold: f64,
    /// Modes forced for domain labels.
    pub domains: BTreeMap<String, Mode>,
    /// The mode when the classifier cannot say.
    pub fallback: Mode,
}

/// The decision, when something other than the classifier settles it.
pub(super) fn settled(
    request: &ChatRequest,
    subject: &Subject,
    wish: Option<Mode>,
    target: &Target,
) -> Option<Decision> {
    if let Some(mode) = wish {
        return Some(Decision::of(mode, Why::Header));
    }
    if choice::of(request).is_some() || target.is_soft_switched(&subject.text) {
        return Some(Decision::of(Mode::Unchanged, Why::Client));
    }
    match target {
        Target::Alias(_) => None, // the choice is between models
        Target::Model { family: None, .. } | Target::Model { gate: false, .. } => {
            Some(Decision::of(Mode::Unchanged, Why::Unknown))
        }
        Target::Model {
            family: Some(family),
            ..
        } => (!family.can_switch()).then(|| Decision::of(Mode::Unchanged, Why::Fixed)),
    }
}

impl Target {
    fn is_soft_switched(&self, turn: &str) -> bool {
        match self {
            Self::Model { family, .. } => {
                family.is_some_and(|family| family.is_soft_switched(turn))
            }
            Self::Alias(models) => models.values().any(|target| target.is_soft_switched(turn)),
        }
    }
}

impl Policy {
    /// What a classification means.
    pub(super) fn judge(&self, seen: &Classification, in_tool_loop: bool) -> Decision {
        let score = rounded(seen.score);
        if seen.unreadable {
            return Decision {
                score: Some(score),
                ..self.fallback(Miss::Unreadable)
            };
        }
        let domain = seen.domain.as_ref().map(|domain| domain.label.clone());
        let forced = domain
            .as_ref()
            .and_then(|label| self.domains.get(&**label))
            .copied();
        let mode = forced.unwrap_or(if score >= self.threshold {
            Mode::Reasoning
        } else {
            Mode::Direct
        });
        let why = if in_tool_loop {
            Why::ToolLoop
        } else {
            Why::Classifier
        };
        Decision {
            score: Some(score),
            domain,
            ..Decision::of(mode, why)
        }
    }

    /// The decision when the classifier cannot say.
    pub(super) fn fallback(&self, miss: Miss) -> Decision {
        Decision {
            miss: Some(miss),
            ..Decision::of(self.fallback, Why::Fallback)
        }
    }
}

/// A probability as it is shown and compared: what the header says is what decided.
pub fn rounded(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{classifier::Domain, routing::Family};

    fn policy() -> Policy {
        Policy {
            threshold: 0.5,
            domains: [("law".to_owned(), Mode::Reasoning)].into(),
            fallback: Mode::Unchanged,
        }
    }

    fn seen(score: f64, domain: &str) -> Classification {
        let domain = Some(Domain {
            label: domain.into(),
            score: 1.0,
        });
        Classification {
            score,
            domain,
            tokens: 3,
            truncated: false,
            unreadable: false,
        }
    }

    #[test]
    fn the_rounded_score_is_compared() {
        assert_eq!(
            policy().judge(&seen(0.4995, "math"), false).mode,
            Mode::Reasoning
        );
        assert_eq!(
            policy().judge(&seen(0.4994, "math"), false).mode,
            Mode::Direct
        );
    }

    #[test]
    fn a_domain_can_be_forced() {
        assert_eq!(
            policy().judge(&seen(0.1, "law"), false).mode,
            Mode::Reasoning
        );
    }

    #[test]
    fn what_cannot_be_read_falls_back() {
        let unreadable = Classification {
            unreadable: true,
            ..seen(0.9, "math")
        };
        let decision = policy().judge(&unreadable, false);
        assert_eq!(
            (decision.mode, decision.why, decision.miss),
            (Mode::Unchanged, Why::Fallback, Some(Miss::Unreadable))
        );
    }

    fn settle(
        body: &'static str,
        wish: Option<Mode>,
        family: Option<&str>,
        gate: bool,
    ) -> Option<(Mode, Why)> {
        let request = ChatRequest::read(body.into()).unwrap();
        let family = family.map(|id| Family::by_id(id, "").unwrap());
        let target = Target::Model {
            name: "m".into(),
            family,
            gate,
        };
        let subject = Subject::of(&request).unwrap();
        settled(&request, &subject, wish, &target).map(|decision| (decision.mode, decision.why))
    }

    #[test]
    fn precedence_is_header_client_unknown_fixed() {
        const PLAIN: &str = r#"{"messages":[{"role":"user","content":"q"}]}"#;
        const CHOSEN: &str = r#"{"think":false,"messages":[{"role":"user","content":"q"}]}"#;
        const SOFT: &str = r#"{"messages":[{"role":"user","content":"q /no_think"}]}"#;
        let unchanged = |why| Some((Mode::Unchanged, why));
        assert_eq!(
            settle(CHOSEN, Some(Mode::Direct), Some("qwen3"), true),
            Some((Mode::Direct, Why::Header))
        );
        assert_eq!(settle(CHOSEN, None, None, true), unchanged(Why::Client));
        assert_eq!(
            settle(SOFT, None, Some("qwen3"), true),
            unchanged(Why::Client)
        );
        assert_eq!(settle(SOFT, None, Some("deepseek_v4"), true), None);
        assert_eq!(settle(PLAIN, None, None, true), unchanged(Why::Unknown));
        assert_eq!(
            settle(PLAIN, None, Some("always"), false),
            unchanged(Why::Unknown)
        );
        assert_eq!(
            settle(PLAIN, None, Some("always"), true),
            unchanged(Why::Fixed)
        );
        assert_eq!(settle(PLAIN, None, Some("qwen3"), true), None);
    }
}
