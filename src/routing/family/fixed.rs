//! Models that cannot switch. They come first because their names contain the names of families that can.

use super::switches::FIXED;
use super::{DefaultMode, Family};

/// The rows.
pub static FAMILIES: &[Family] = &[
    // --- models that always reason: an OFF would be an error or ignored ---
    Family {
        id: "always",
        names: &[
            "deepseek-r1", // its distills carry the names of Qwen3 and Llama
            "qwen3*thinking",
            "qwq",
            "kimi-k2-thinking",
            "minimax-m2",
            "minimax-m2.1",
            "minimax-m2.5",
            "minimax-m2.7",
            "magistral",
            "ministral*reasoning",
            "ernie-4.5*thinking",
            "step3",
            "step-3",
            "step-3.5",
            "step-3.7",
            "step-5",
            "phi-4*reasoning",
            "lfm2.5*thinking",
            "olmo-3*think",
        ],
        ..FIXED
    },
    // --- models that never reason: siblings of models that do, and older models ---
    Family {
        id: "never",
        default: DefaultMode::Direct,
        floor: 0,
        names: &[
            "qwen3*instruct",
            "qwen3-coder",
            "kimi-k2*instruct",
            "ministral",
            "qwen2",
            "qwen2.5",
            "gemma-2",
            "gemma-3",
            "phi-3",
            "phi-3.5",
            "mixtral",
            "mistral-7b",
            "mistral-small-3",
            "mistral-small-3.1",
            "mistral-small-3.2",
            "mistral-nemo",
            "llama-3*instruct",
            "llama-3.1*instruct",
            "llama-3.2*instruct",
            "llama-3.3*instruct",
            "llama-4",
            "deepseek-v3",
            "deepseek-v3-0324",
        ],
        ..FIXED
    },
    // --- for the probe: the model's template obeys no known switch, whatever its name suggests ---
    Family {
        id: "fixed",
        default: DefaultMode::Depends,
        ..FIXED
    },
];
