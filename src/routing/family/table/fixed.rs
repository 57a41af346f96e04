//! Models that cannot switch. They come first, since their names contain those of families that can.

use super::super::{Family, Unsaid};
use super::switches::FIXED;

/// The rows.
pub static FAMILIES: &[Family] = &[
    // --- models that always reason: nothing to send, and an OFF would be an error or ignored ---
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
    // --- models that never reason: the sibling of one that does, or older than the idea ---
    Family {
        id: "never",
        default: Unsaid::Direct,
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
    // --- a template that obeys no switch we know, whatever the name promises: what a probe finds ---
    Family {
        id: "fixed",
        default: Unsaid::Depends,
        ..FIXED
    },
];
