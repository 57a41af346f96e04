//! Generic flags, OpenAI's own models, and servers where the same model switches otherwise than elsewhere.

use super::super::{Family, Unsaid};
use super::switches::*;

/// The rows.
pub static FAMILIES: &[Family] = &[
    // --- generic flags, for templates of one's own ---
    Family {
        id: "enable_thinking",
        default: Unsaid::Depends,
        ..ENABLE_FLAG
    },
    Family {
        id: "thinking",
        default: Unsaid::Depends,
        ..THINKING_FLAG
    },
    Family {
        id: "thinking_both",
        default: Unsaid::Depends,
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
        default: Unsaid::Depends,
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
        default: Unsaid::Direct,
        floor: 0,
        ..FIXED
    },
    // --- other servers: named in the configuration, since the same model switches otherwise elsewhere ---
    Family {
        id: "ollama",
        names: &["gpt-oss"], // cannot be disabled there either; elsewhere `gpt_oss` above is found first
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
        default: Unsaid::Depends,
        reasoning: &[set(&["reasoning", "enabled"], "true")],
        direct: &[set(&["reasoning", "enabled"], "false")],
        ..FIXED
    },
    Family {
        id: "dashscope",
        default: Unsaid::Depends,
        reasoning: &[set(&["enable_thinking"], "true")],
        direct: &[set(&["enable_thinking"], "false")],
        ..FIXED
    },
];
