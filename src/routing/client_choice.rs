//! The client's own choice: any form in which a request can already say whether to reason.

use crate::api::{ChatRequest, Object};

/// Top-level fields that are a choice whatever their value.
const TOP: [&str; 7] = [
    "reasoning_effort",      // OpenAI, vLLM, SGLang, Ollama
    "thinking",              // DeepSeek, Anthropic
    "think",                 // Ollama
    "enable_thinking",       // DashScope
    "thinking_budget",       // DashScope
    "thinking_token_budget", // vLLM
    "reasoning_budget",      // llama.cpp
];

/// Members of `reasoning` (OpenRouter, OpenAI responses) that choose; `exclude` and `summary` are about display.
const REASONING: [&str; 3] = ["effort", "enabled", "max_tokens"];

/// Variables of chat templates that switch one family or another.
const TEMPLATE: [&str; 9] = [
    "enable_thinking",
    "thinking",
    "reasoning_effort",
    "thinking_mode",
    "thinking_budget",
    "reasoning",
    "reasoning_budget",
    "low_effort",
    "thinking_effort",
];

/// The field by which the client chose for itself, if it did. `null` counts as absent.
pub fn of(request: &ChatRequest) -> Option<&'static str> {
    if let Some(field) = TOP.into_iter().find(|field| request.get(field).is_some()) {
        return Some(field);
    }
    let holds = |field: &str, keys: &[&'static str]| {
        let value = request.get(field)?;
        match Object::read(value) {
            Ok(object) => keys
                .iter()
                .copied()
                .find(|key| object.get(value, key).is_some()),
            Err(_) => keys.first().copied(), // `"reasoning": "high"`: no server's spelling, but a choice all the same
        }
    };
    holds("reasoning", &REASONING).or_else(|| holds("chat_template_kwargs", &TEMPLATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(body: &'static str) -> Option<&'static str> {
        of(&ChatRequest::read(body.into()).unwrap())
    }

    #[test]
    fn every_form_of_choice_is_seen() {
        for body in [
            r#"{"reasoning_effort":"low"}"#,
            r#"{"reasoning":{"effort":"none"}}"#,
            r#"{"reasoning":{"enabled":false}}"#,
            r#"{"thinking":{"type":"disabled"}}"#,
            r#"{"think":false}"#,
            r#"{"enable_thinking":true}"#,
            r#"{"thinking_budget":0}"#,
            r#"{"thinking_token_budget":100}"#,
            r#"{"chat_template_kwargs":{"enable_thinking":false}}"#,
            r#"{"chat_template_kwargs":{"x":1,"th\u0069nking":true}}"#,
            r#"{"chat_template_kwargs":{"thinking_mode":"adaptive"}}"#,
        ] {
            assert!(chosen(body).is_some(), "{body}");
        }
    }

    #[test]
    fn what_chooses_nothing_is_no_choice() {
        for body in [
            "{}",
            r#"{"reasoning_effort":null}"#,
            r#"{"chat_template_kwargs":null}"#,
            r#"{"chat_template_kwargs":{"enable_thinking":null,"x":1}}"#,
            r#"{"reasoning":{"exclude":true}}"#,
            r#"{"include_reasoning":false}"#,
            r#"{"extra_body":{"enable_thinking":false}}"#,
        ] {
            assert_eq!(chosen(body), None, "{body}");
        }
    }
}
