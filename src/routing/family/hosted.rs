//! Generic flags, OpenAI's own models, and servers that have their own switch for models that others serve too.

use super::switches::*;
use super::{DefaultMode, Family};

/// The rows.
pub static FAMILIES: &[Family] = &[
    // --- generic flags, for custom templates ---
    Family {
        id: "enable_thinking",
        default: DefaultMode::Depends,
        ..ENABLE_FLAG
    },
    Family {
        id: "thinking",
        default: DefaultMode::Depends,
        ..THINKING_FLAG
    },
    Family {
        id: "thinking_both",
        default: DefaultMode::Depends,
        reasoning: &[set(ENABLE, "true"), set(THINKING, "true")],
        direct: &[set(ENABLE, "false"), set(THINKING, "false")],
        ..FIXED
    },
    // --- OpenAI: the accepted efforts differ by model, and one that is not accepted is a 400 ---
    Family {
        id: "openai",
        names: &[
            "gpt-5-pro",
            "gpt-5.2-pro",
            "gpt-5.4-pro",
            "gpt-5.5-pro",
            "gpt-5*chat-latest",
            "chat-latest",
        ],
        ..FIXED
    },
    Family {
        id: "openai",
        names: &[
            "gpt-5.1",
            "gpt-5.2",
            "gpt-5.4",
            "gpt-5.5",
            "gpt-5.6",
            "gpt-6-sol",
            "gpt-6-luna",
            "gpt-6.1-terra",
        ],
        default: DefaultMode::Depends,
        reasoning: EFFORT_MEDIUM,
        direct: EFFORT_NONE,
        efforts: &["none", "low", "medium", "high"],
        ..FIXED
    },
    Family {
        id: "openai",
        names: &["gpt-5"],
        reasoning: EFFORT_MEDIUM,
        direct: EFFORT_MINIMAL,
        efforts: &["minimal", "low", "medium", "high"],
        ..FIXED
    },
    Family {
        id: "openai",
        names: &[
            "gpt-6-astra",
            "gpt-6.1-sol",
            "o1",
            "o3",
            "o3-mini",
            "o4-mini",
        ],
        reasoning: EFFORT_MEDIUM,
        direct: EFFORT_LOW,
        efforts: &["low", "medium", "high"],
        ..FIXED
    },
    Family {
        id: "openai",
        names: &["gpt-4o", "gpt-4.1", "gpt-4", "gpt-3.5"],
        default: DefaultMode::Direct,
        floor: 0,
        ..FIXED
    },
    // --- servers with their own switch: named in the configuration, because the same model switches differently elsewhere ---
    Family {
        id: "ollama",
        names: &["gpt-oss"], // has no OFF on Ollama either; by name alone, the row `gpt_oss` is found first
        reasoning: EFFORT_MEDIUM,
        direct: EFFORT_LOW,
        efforts: &["low", "medium", "high"],
        ..FIXED
    },
    Family {
        id: "ollama",
        reasoning: EFFORT_MEDIUM,
        direct: EFFORT_NONE,
        efforts: &["none", "minimal", "low", "medium", "high", "xhigh", "max"],
        ..FIXED
    },
    Family {
        id: "openrouter",
        default: DefaultMode::Depends,
        reasoning: &[set(&["reasoning", "enabled"], "true")],
        direct: &[set(&["reasoning", "enabled"], "false")],
        ..FIXED
    },
    Family {
        id: "dashscope",
        default: DefaultMode::Depends,
        reasoning: &[set(&["enable_thinking"], "true")],
        direct: &[set(&["enable_thinking"], "false")],
        ..FIXED
    },
];
