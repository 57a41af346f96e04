//! The rules of the decision, as pure functions: those that need no classifier, and what a score means.

use super::{Conversation, Decision, Mode, Target, Why, client_choice, decision::round3};
use crate::{
    api::ChatRequest,
    classifier::{Classification, FallbackReason},
    config::Routing,
};

/// How scores become modes, by the `routing` section of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(super) settings: Routing,
}

/// The decision, when a rule before the classifier applies.
pub(super) fn decided_without_classifier(
    request: &ChatRequest,
    conversation: &Conversation,
    requested_mode: Option<Mode>,
    target: &Target,
) -> Option<Decision> {
    if let Some(mode) = requested_mode {
        return Some(Decision::of(mode, Why::Header));
    }
    if client_choice::of(request).is_some() || target.is_soft_switched(conversation.last_turn()) {
        return Some(Decision::of(Mode::Unchanged, Why::Client));
    }
    let unchanged = match target {
        Target::Alias(_) => None, // an alias chooses between models
        Target::Model { family: None, .. } | Target::Model { gate: false, .. } => {
            Some(Why::Unknown)
        }
        Target::Model {
            family: Some(family),
            ..
        } => (!family.can_switch()).then_some(Why::Fixed),
    };
    if let Some(why) = unchanged {
        return Some(Decision::of(Mode::Unchanged, why));
    }
    let (_, thinking) = target.choose(Mode::Reasoning); // for an alias, the model that would think
    let floor = thinking.map_or(0, |family| family.floor);
    let is_short = request.token_limit().is_some_and(|limit| limit < floor);
    is_short.then(|| Decision::of(Mode::Direct, Why::Budget))
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
    /// A policy with these settings.
    pub fn new(settings: Routing) -> Self {
        Self { settings }
    }

    /// True when a classification is clear enough to change the mode of a conversation. A domain with a mode of its own always is.
    pub(super) fn is_decisive(&self, classification: &Classification) -> bool {
        // 0.2 + 0.1 must be 0.3, so that a score of 0.300 reaches it.
        let limit = |at: f64| (at * 1e9).round() / 1e9;
        let score = round3(classification.score);
        self.domain_override(classification).is_some()
            || score >= limit(self.settings.threshold + self.settings.switch_margin)
            || score <= limit(self.settings.threshold - self.settings.switch_margin)
    }

    fn domain_override(&self, classification: &Classification) -> Option<Mode> {
        let domain = classification.domain.as_ref()?;
        self.settings.domains.get(&*domain.label).copied()
    }

    /// The decision for a classification at the plain threshold.
    pub(super) fn judge(&self, classification: &Classification, in_tool_loop: bool) -> Decision {
        let score = round3(classification.score);
        if classification.unreadable {
            return Decision {
                score: Some(score),
                ..self.fallback(FallbackReason::Unreadable)
            };
        }
        let by_score = if score >= self.settings.threshold {
            Mode::Reasoning
        } else {
            Mode::Direct
        };
        let mode = self.domain_override(classification).unwrap_or(by_score);
        let why = if in_tool_loop {
            Why::ToolLoop
        } else {
            Why::Classifier
        };
        Decision {
            score: Some(score),
            domain: classification
                .domain
                .as_ref()
                .map(|domain| domain.label.clone()),
            ..Decision::of(mode, why)
        }
    }

    /// The decision when the classifier gives no score.
    pub(super) fn fallback(&self, reason: FallbackReason) -> Decision {
        Decision {
            fallback_reason: Some(reason),
            ..Decision::of(self.settings.fallback, Why::Fallback)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{classifier::Domain, routing::Family};

    fn policy() -> Policy {
        Policy::new(Routing {
            threshold: 0.5,
            switch_margin: 0.1,
            turns: 64,
            domains: [("law".to_owned(), Mode::Reasoning)].into(),
            fallback: Mode::Unchanged,
        })
    }

    fn classified(score: f64, domain: &str) -> Classification {
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
            policy().judge(&classified(0.4995, "math"), false).mode,
            Mode::Reasoning
        );
        assert_eq!(
            policy().judge(&classified(0.4994, "math"), false).mode,
            Mode::Direct
        );
    }

    #[test]
    fn a_domain_can_override_the_score() {
        assert_eq!(
            policy().judge(&classified(0.1, "law"), false).mode,
            Mode::Reasoning
        );
    }

    #[test]
    fn an_unreadable_text_falls_back() {
        let unreadable = Classification {
            unreadable: true,
            ..classified(0.9, "math")
        };
        let decision = policy().judge(&unreadable, false);
        assert_eq!(
            (decision.mode, decision.why, decision.fallback_reason),
            (
                Mode::Unchanged,
                Why::Fallback,
                Some(FallbackReason::Unreadable)
            )
        );
    }

    fn decided(
        body: &'static str,
        requested_mode: Option<Mode>,
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
        let conversation = Conversation::of(&request).unwrap();
        decided_without_classifier(&request, &conversation, requested_mode, &target)
            .map(|decision| (decision.mode, decision.why))
    }

    #[test]
    fn precedence_is_header_client_unknown_fixed() {
        const PLAIN: &str = r#"{"messages":[{"role":"user","content":"q"}]}"#;
        const CHOSEN: &str = r#"{"think":false,"messages":[{"role":"user","content":"q"}]}"#;
        const SOFT: &str = r#"{"messages":[{"role":"user","content":"q /no_think"}]}"#;
        let unchanged = |why| Some((Mode::Unchanged, why));
        assert_eq!(
            decided(CHOSEN, Some(Mode::Direct), Some("qwen3"), true),
            Some((Mode::Direct, Why::Header))
        );
        assert_eq!(decided(CHOSEN, None, None, true), unchanged(Why::Client));
        assert_eq!(
            decided(SOFT, None, Some("qwen3"), true),
            unchanged(Why::Client)
        );
        assert_eq!(decided(SOFT, None, Some("deepseek_v4"), true), None);
        assert_eq!(decided(PLAIN, None, None, true), unchanged(Why::Unknown));
        assert_eq!(
            decided(PLAIN, None, Some("always"), false),
            unchanged(Why::Unknown)
        );
        assert_eq!(
            decided(PLAIN, None, Some("always"), true),
            unchanged(Why::Fixed)
        );
        assert_eq!(decided(PLAIN, None, Some("qwen3"), true), None);
    }

    #[test]
    fn fewer_tokens_than_a_thought_needs_are_a_direct_answer() {
        let limited = |limit: &str, family: &str, requested_mode| {
            let body =
                format!("{{{limit},\"messages\":[{{\"role\":\"user\",\"content\":\"q\"}}]}}");
            decided(body.leak(), requested_mode, Some(family), true)
        };
        let direct = Some((Mode::Direct, Why::Budget));
        assert_eq!(limited("\"max_tokens\":1023", "qwen3", None), direct);
        assert_eq!(limited("\"max_tokens\":1024", "qwen3", None), None);
        assert_eq!(
            limited("\"max_completion_tokens\":5", "gpt_oss", None),
            direct
        );
        assert_eq!(
            limited("\"max_tokens\":5", "always", None),
            Some((Mode::Unchanged, Why::Fixed))
        );
        assert_eq!(
            limited("\"max_tokens\":5", "qwen3", Some(Mode::Reasoning)),
            Some((Mode::Reasoning, Why::Header))
        );
    }
}
