//! The fields by which a client can choose whether the model reasons.
//!
//! This is the only list of them. The client's own choice is read from these fields, and none of them may be repeated.

/// Fields of one object of the request.
#[derive(Debug)]
pub struct ReasoningFields {
    /// The top-level field that holds the object; `None` for the request itself.
    pub parent: Option<&'static str>,
    /// The fields. Each is a choice with any value but `null`.
    pub names: &'static [&'static str],
}

/// All reasoning fields, in the order in which a client's choice is looked for.
pub const REASONING_FIELDS: [ReasoningFields; 3] = [TOP_LEVEL, IN_REASONING, IN_TEMPLATE];

/// Top-level fields.
pub(super) const TOP_LEVEL: ReasoningFields = ReasoningFields {
    parent: None,
    names: &[
        "reasoning_effort",      // OpenAI, vLLM, SGLang, Ollama
        "thinking",              // DeepSeek, Anthropic
        "think",                 // Ollama
        "enable_thinking",       // DashScope
        "thinking_budget",       // DashScope
        "thinking_token_budget", // vLLM
        "reasoning_budget",      // llama.cpp
    ],
};

/// Members of `reasoning` (OpenRouter, OpenAI Responses). Its `exclude` and `summary` are about display only.
const IN_REASONING: ReasoningFields = ReasoningFields {
    parent: Some("reasoning"),
    names: &["effort", "enabled", "max_tokens"],
};

/// Variables of chat templates that switch one family or another.
const IN_TEMPLATE: ReasoningFields = ReasoningFields {
    parent: Some("chat_template_kwargs"),
    names: &[
        "enable_thinking",
        "thinking",
        "reasoning_effort",
        "thinking_mode",
        "thinking_budget",
        "reasoning",
        "reasoning_budget",
        "low_effort",
        "thinking_effort",
    ],
};
