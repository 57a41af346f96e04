//! Property test of the precedence: for any request, the first rule of a plain table that applies decides.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Conversation, Decision, Family, Mode, Policy, Target, Why, policy::decided_without_classifier,
};
use crate::{
    api::ChatRequest,
    classifier::{Classification, FallbackReason},
    config::Routing,
};

/// Everything that a decision depends on.
#[derive(Debug, Clone)]
struct Case {
    requested_mode: Option<Mode>,
    /// A field of the body, and whether it counts as the client's own choice.
    field: (&'static str, Value, bool),
    soft_switch: bool,
    limit: Option<u64>,
    has_text: bool,
    in_tool_loop: bool,
    family: Option<&'static str>,
    gate: bool,
    is_alias: bool,
    fallback: Mode,
    /// The score in thousandths, or why there is none.
    score: Result<u32, FallbackReason>,
}

impl Case {
    fn request(&self) -> ChatRequest {
        let text = match (self.has_text, self.soft_switch) {
            (false, _) => "",
            (true, false) => "what is it?",
            (true, true) => "what is it? /no_think",
        };
        let mut messages = vec![json!({"role": "user", "content": text})];
        if self.in_tool_loop {
            messages.push(json!({"role": "tool", "content": "42"}));
        }
        let mut body = json!({"messages": messages, "max_tokens": self.limit});
        body[self.field.0] = self.field.1.clone();
        ChatRequest::read(body.to_string().into()).unwrap()
    }

    fn target(&self) -> Target {
        let model = |name: &str, family: Option<&str>| Target::Model {
            name: name.into(),
            family: family.map(|id| Family::by_id(id, "").unwrap()),
            gate: self.gate,
        };
        if !self.is_alias {
            return model("m", self.family);
        }
        let direct = model("instruct", Some("never"));
        let models = [Mode::Direct, Mode::Unchanged].map(|mode| (mode, direct.clone()));
        let reasoning = (Mode::Reasoning, model("thinking", self.family));
        Target::Alias(models.into_iter().chain([reasoning]).collect())
    }

    fn decide(&self) -> Decision {
        let policy = Policy::new(Routing {
            threshold: 0.5,
            switch_margin: 0.1,
            turns: 64,
            domains: Default::default(),
            fallback: self.fallback,
        });
        let request = self.request();
        let chat = Conversation::of(&request).unwrap();
        if let Some(decision) =
            decided_without_classifier(&request, &chat, self.requested_mode, &self.target())
        {
            return decision;
        }
        let mut scan = policy.scan(&chat);
        let mut reason = None;
        while let (None, Some(_)) = (reason, scan.next_text()) {
            match self.score {
                Ok(score) => scan.observe(classified(score)),
                Err(FallbackReason::Unreadable) => scan.observe(Classification {
                    unreadable: true,
                    ..classified(900)
                }),
                Err(why) => reason = Some(why),
            }
        }
        scan.finish(reason).0
    }

    /// Every rule in order: whether it applies, its mode, and its reason. The last one always applies.
    fn table(&self) -> [(bool, Mode, Why); 8] {
        use Mode::{Direct, Reasoning, Unchanged};
        let has_soft_switch = self.family == Some("qwen3");
        let chose = self.field.2 || (self.soft_switch && self.has_text && has_soft_switch);
        let is_known = self.is_alias || (self.family.is_some() && self.gate);
        let can_switch = self.is_alias || !matches!(self.family, Some("always" | "never"));
        let floor = match self.family {
            None | Some("never") => 0,
            Some(_) => 1024,
        };
        let is_judged = self.has_text && self.score.is_ok();
        let by_score = match self.score {
            Ok(500..) => Reasoning,
            _ => Direct,
        };
        [
            (
                self.requested_mode.is_some(),
                self.requested_mode.unwrap_or(Unchanged),
                Why::Header,
            ),
            (chose, Unchanged, Why::Client),
            (!is_known, Unchanged, Why::Unknown),
            (!can_switch, Unchanged, Why::Fixed),
            (
                self.limit.is_some_and(|limit| limit < floor),
                Direct,
                Why::Budget,
            ),
            (is_judged && self.in_tool_loop, by_score, Why::ToolLoop),
            (is_judged, by_score, Why::Classifier),
            (true, self.fallback, Why::Fallback),
        ]
    }
}

fn classified(score: u32) -> Classification {
    Classification {
        score: f64::from(score) / 1000.0,
        domain: None,
        tokens: 3,
        truncated: false,
        unreadable: false,
    }
}

fn field() -> impl Strategy<Value = (&'static str, Value, bool)> {
    prop_oneof![
        4 => Just(("temperature", json!(0.5), false)),
        1 => Just(("reasoning_effort", json!("low"), true)),
        1 => Just(("reasoning_effort", Value::Null, false)),
        1 => Just(("chat_template_kwargs", json!({"enable_thinking": false}), true)),
        1 => Just(("chat_template_kwargs", json!({"custom": 1}), false)),
        1 => Just(("thinking", json!({"type": "enabled"}), true)),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let mode = || prop::sample::select(&[Mode::Reasoning, Mode::Direct, Mode::Unchanged][..]);
    const FAMILIES: &[&str] = &["qwen3", "deepseek_v4", "gpt_oss", "always", "never"];
    const FALLBACK_REASONS: &[FallbackReason] = &[
        FallbackReason::Late,
        FallbackReason::Full,
        FallbackReason::Failed,
        FallbackReason::Unreadable,
    ];
    let of_body = (
        prop::option::weighted(0.2, mode()),
        field(),
        prop::bool::weighted(0.2),
        prop::option::of(prop::sample::select(&[0, 60, 1023, 1024, 9000][..])),
        prop::bool::weighted(0.9),
        any::<bool>(),
    );
    let of_target = (
        prop::option::weighted(0.8, prop::sample::select(FAMILIES)),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.3),
    );
    let score = prop_oneof![
        3 => (0..=1000u32).prop_map(Ok),
        1 => prop::sample::select(FALLBACK_REASONS).prop_map(Err),
    ];
    (of_body, of_target, mode(), score).prop_map(|(of_body, of_target, fallback, score)| {
        let (requested_mode, field, soft_switch, limit, has_text, in_tool_loop) = of_body;
        let (family, gate, is_alias) = of_target;
        Case {
            requested_mode,
            field,
            soft_switch,
            limit,
            has_text,
            in_tool_loop,
            family,
            gate,
            is_alias,
            fallback,
            score,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_first_rule_that_applies_decides(case in case()) {
        let got = case.decide();
        let (_, mode, why) = case.table().into_iter().find(|(applies, ..)| *applies).unwrap();
        prop_assert_eq!((got.mode, got.why), (mode, why));
        prop_assert_eq!(got.fallback_reason.is_some(), why == Why::Fallback);
        let is_scored = matches!(why, Why::ToolLoop | Why::Classifier)
            || (why == Why::Fallback && case.has_text && case.score == Err(FallbackReason::Unreadable));
        prop_assert_eq!(got.score.is_some(), is_scored);
    }
}
