//! The changes that rows are made of, and the base rows from which the others are derived.

use std::borrow::Cow;

use super::{DefaultMode, Family};
use crate::api::Change;

/// Sets the field at `path` to raw JSON.
pub const fn set(path: &'static [&'static str], json: &'static str) -> Change {
    Change::Set(path, Cow::Borrowed(json))
}

pub const ENABLE: &[&str] = &["chat_template_kwargs", "enable_thinking"];
pub const THINKING: &[&str] = &["chat_template_kwargs", "thinking"];
pub const TEMPLATE_EFFORT: &[&str] = &["chat_template_kwargs", "reasoning_effort"];
pub const TEMPLATE_MODE: &[&str] = &["chat_template_kwargs", "thinking_mode"];
pub const TEMPLATE_BUDGET: &[&str] = &["chat_template_kwargs", "thinking_budget"];
pub const TEMPLATE_REASONING: &[&str] = &["chat_template_kwargs", "reasoning"];
pub const EFFORT: &[&str] = &["reasoning_effort"];

pub const ENABLE_ON: &[Change] = &[set(ENABLE, "true")];
pub const ENABLE_OFF: &[Change] = &[set(ENABLE, "false")];
pub const THINKING_ON: &[Change] = &[set(THINKING, "true")];
pub const THINKING_OFF: &[Change] = &[set(THINKING, "false")];
pub const EFFORT_NONE: &[Change] = &[set(EFFORT, "\"none\"")];
pub const EFFORT_MINIMAL: &[Change] = &[set(EFFORT, "\"minimal\"")];
pub const EFFORT_LOW: &[Change] = &[set(EFFORT, "\"low\"")];
pub const EFFORT_MEDIUM: &[Change] = &[set(EFFORT, "\"medium\"")];
pub const EFFORT_HIGH: &[Change] = &[set(EFFORT, "\"high\"")];

/// The default floor in tokens. Thoughts of a few hundred tokens are common, and their length is not known in advance.
/// Anthropic's smallest thinking budget is 1,024 tokens. Seed-OSS advises to turn thinking off for budgets under 512, and an
/// answer needs as many tokens again.
pub const FLOOR: u64 = 1024;

/// A family that cannot switch; the base of all other rows.
pub const FIXED: Family = Family {
    id: "",
    names: &[],
    default: DefaultMode::Reasons,
    reasoning: &[],
    direct: &[],
    efforts: &[],
    floor: FLOOR,
    soft_switches: &[],
};

/// `enable_thinking` in the chat template, on by default: the most common switch.
pub const ENABLE_FLAG: Family = Family {
    reasoning: ENABLE_ON,
    direct: ENABLE_OFF,
    ..FIXED
};

/// `thinking` in the chat template, on by default.
pub const THINKING_FLAG: Family = Family {
    reasoning: THINKING_ON,
    direct: THINKING_OFF,
    ..FIXED
};
