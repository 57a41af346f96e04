//! The changes that rows are made of, and the rows that others are varied from.

use std::borrow::Cow;

use super::super::{Family, Unsaid};
use crate::api::Change;

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

/// Thoughts of a few hundred tokens are common and their length is not known before. Anthropic sells no thinking budget
/// under 1024; Seed-OSS advises to turn thinking off for budgets under 512, and an answer needs as much again.
pub const FLOOR: u64 = 1024;

/// A family that cannot switch, from which the others are varied.
pub const FIXED: Family = Family {
    id: "",
    names: &[],
    default: Unsaid::Reasons,
    reasoning: &[],
    direct: &[],
    efforts: &[],
    floor: FLOOR,
    soft_switches: &[],
};

/// `enable_thinking` in the chat template, on unless said otherwise: the commonest switch.
pub const ENABLE_FLAG: Family = Family {
    reasoning: ENABLE_ON,
    direct: ENABLE_OFF,
    ..FIXED
};

/// `thinking` in the chat template, on unless said otherwise.
pub const THINKING_FLAG: Family = Family {
    reasoning: THINKING_ON,
    direct: THINKING_OFF,
    ..FIXED
};
