//! Models with open weights, as vLLM and SGLang serve them.

use super::switches::*;
use super::{DefaultMode, Family};
use crate::api::Change;

/// The rows.
pub static FAMILIES: &[Family] = &[
    // --- Qwen ---
    Family {
        id: "qwen3",
        names: &["qwen3"],
        soft_switches: &["/no_think", "/think"],
        ..ENABLE_FLAG
    },
    Family {
        id: "qwen3_5",
        names: &["qwen3.5", "qwen3.6"],
        ..ENABLE_FLAG
    }, // these have no soft switch
    // Thinks at xhigh; `high` is not on its scale. The flag alone keeps the effort that the operator set as default.
    Family {
        id: "qwen3_8",
        names: &["qwen3.8"],
        efforts: &["low", "medium", "xhigh"],
        ..ENABLE_FLAG
    },
    // Qwen3 on a server without chat_template_kwargs (TGI): the soft switches that the template reads.
    Family {
        id: "qwen3_soft",
        reasoning: &[Change::LastUser(" /think")],
        direct: &[Change::LastUser(" /no_think")],
        soft_switches: &["/no_think", "/think"],
        ..FIXED
    },
    // --- DeepSeek ---
    Family {
        id: "deepseek_v3_1",
        names: &["deepseek-v3.1", "deepseek-v3.2"],
        default: DefaultMode::Direct,
        ..THINKING_FLAG
    },
    Family {
        id: "deepseek_v4",
        names: &["deepseek-v4"],
        efforts: &["low", "high", "max"],
        ..THINKING_FLAG
    },
    Family {
        id: "deepseek_v4_1",
        names: &["deepseek-v4.1"],
        reasoning: EFFORT_HIGH,
        direct: EFFORT_NONE,
        efforts: &["none", "low", "high", "xhigh", "max"],
        ..FIXED
    },
    // api.deepseek.com: top level, not the template.
    Family {
        id: "deepseek_api",
        names: &["deepseek-chat", "deepseek-reasoner"],
        default: DefaultMode::Depends,
        reasoning: &[set(&["thinking", "type"], "\"enabled\"")],
        direct: &[set(&["thinking", "type"], "\"disabled\"")],
        ..FIXED
    },
    // --- GLM ---
    Family {
        id: "glm",
        names: &[
            "glm-4.5", "glm-4.5v", "glm-4.6", "glm-4.6v", "glm-4.7", "glm-5", "glm-5.1",
        ],
        soft_switches: &["/nothink"],
        ..ENABLE_FLAG
    },
    Family {
        id: "glm_5_2",
        names: &["glm-5.2", "macaron"],
        efforts: &["high", "max"],
        ..ENABLE_FLAG
    },
    // Cannot be turned off and ignores enable_thinking; an unknown effort means max. The effort is at the start of the prompt,
    // so changing it within a conversation costs the prefix cache.
    Family {
        id: "glm_5_3",
        names: &["glm-5.3"],
        reasoning: &[set(TEMPLATE_EFFORT, "\"max\"")],
        direct: &[set(TEMPLATE_EFFORT, "\"low\"")],
        efforts: &["low", "high", "max"],
        ..FIXED
    },
    // --- OpenAI's open weights: no OFF; none, minimal, xhigh and max are a 400; template variables are ignored ---
    Family {
        id: "gpt_oss",
        names: &["gpt-oss"],
        reasoning: EFFORT_MEDIUM,
        direct: EFFORT_LOW,
        efforts: &["low", "medium", "high"],
        ..FIXED
    },
    // --- IBM Granite ---
    Family {
        id: "granite",
        names: &["granite-3.2", "granite-3.3"],
        default: DefaultMode::Direct,
        ..THINKING_FLAG
    },
    Family {
        id: "granite_4_2",
        names: &["granite-4.2"],
        ..ENABLE_FLAG
    },
    // --- Tencent Hunyuan ---
    Family {
        id: "hunyuan",
        names: &["hunyuan-a13b"],
        soft_switches: &["/no_think", "/think"],
        ..ENABLE_FLAG
    },
    Family {
        id: "hunyuan_3",
        names: &["hy3", "hunyuan-3", "hunyuan-hy3"],
        default: DefaultMode::Direct,
        reasoning: &[set(TEMPLATE_EFFORT, "\"high\"")],
        direct: &[set(TEMPLATE_EFFORT, "\"no_think\"")],
        efforts: &["no_think", "low", "high"],
        ..FIXED
    },
    Family {
        id: "hunyuan_4",
        names: &["hy4", "hunyuan-4", "hunyuan-hy4"],
        reasoning: &[set(TEMPLATE_EFFORT, "\"high\"")],
        direct: &[set(TEMPLATE_EFFORT, "\"no_think\"")],
        efforts: &["no_think", "low", "high"],
        ..FIXED
    },
    // --- NVIDIA Nemotron ---
    Family {
        id: "nemotron",
        names: &["nemotron-3"],
        ..ENABLE_FLAG
    },
    Family {
        id: "nemotron_v2",
        names: &[
            "nemotron-nano-9b-v2",
            "nemotron-nano-12b-v2",
            "nemotron*v1-5",
            "nemotron*v1.5",
        ],
        reasoning: &[Change::System("/think")],
        direct: &[Change::System("/no_think")],
        soft_switches: &["/no_think", "/think"],
        ..FIXED
    },
    Family {
        id: "llama_nemotron",
        names: &[
            "llama-3-1-nemotron",
            "llama-3.1-nemotron",
            "llama-3-3-nemotron",
            "llama-3.3-nemotron",
        ],
        reasoning: &[Change::System("detailed thinking on")],
        direct: &[Change::System("detailed thinking off")],
        ..FIXED
    },
    // --- Moonshot Kimi ---
    Family {
        id: "kimi",
        names: &["kimi-k2.5", "kimi-k2.6"],
        ..THINKING_FLAG
    },
    Family {
        id: "kimi_k3",
        names: &["kimi-k3"],
        efforts: &["low", "high", "max"],
        ..THINKING_FLAG
    },
    // --- MiniMax: the default is a third value, adaptive ---
    Family {
        id: "minimax_m3",
        names: &["minimax-m3"],
        default: DefaultMode::Depends,
        reasoning: &[set(TEMPLATE_MODE, "\"enabled\"")],
        direct: &[set(TEMPLATE_MODE, "\"disabled\"")],
        ..FIXED
    },
    // --- Mistral: the efforts are none and high; chat_template_kwargs is a 400 ---
    Family {
        id: "mistral",
        names: &["mistral-small-4", "mistral-medium-3.5"],
        default: DefaultMode::Direct,
        reasoning: EFFORT_HIGH,
        direct: EFFORT_NONE,
        efforts: &["none", "high"],
        ..FIXED
    },
    // --- Google ---
    Family {
        id: "gemma4",
        names: &["gemma-4", "gemma4"],
        default: DefaultMode::Direct,
        ..ENABLE_FLAG
    },
    // --- ByteDance: a budget in tokens, multiples of 512; 0 is off, -1 unlimited ---
    Family {
        id: "seed_oss",
        names: &["seed-oss"],
        reasoning: &[set(TEMPLATE_BUDGET, "-1")],
        direct: &[set(TEMPLATE_BUDGET, "0")],
        ..FIXED
    },
    // --- others ---
    Family {
        id: "ernie_vl",
        names: &["ernie-4.5-vl", "ernie-4.5*vl"],
        ..ENABLE_FLAG
    },
    Family {
        id: "holo2",
        names: &["holo2"],
        ..THINKING_FLAG
    },
    // Recipe and parser disagree on the default, which does not matter: the switch is always sent.
    Family {
        id: "mimo",
        names: &["mimo-v2", "mimo-v2.5"],
        default: DefaultMode::Depends,
        ..ENABLE_FLAG
    },
    Family {
        id: "ling",
        names: &["ling-3", "ling-3.0"],
        ..ENABLE_FLAG
    },
    Family {
        id: "intern",
        names: &["intern-s1", "intern-s2"],
        ..ENABLE_FLAG
    },
    Family {
        id: "minicpm",
        names: &["minicpm5"],
        ..ENABLE_FLAG
    },
    Family {
        id: "laguna",
        names: &["laguna", "lagunaxs"],
        default: DefaultMode::Direct,
        ..ENABLE_FLAG
    },
    Family {
        id: "cohere",
        names: &["command-a-reasoning", "command-a-plus"],
        reasoning: &[set(TEMPLATE_REASONING, "true")],
        direct: &[set(TEMPLATE_REASONING, "false")],
        ..FIXED
    },
    Family {
        id: "effort_none",
        names: &["kolibri", "inkling"],
        reasoning: EFFORT_HIGH,
        direct: EFFORT_NONE,
        efforts: &["none", "high"],
        ..FIXED
    },
    Family {
        id: "jais_3",
        names: &["jais-3"],
        reasoning: EFFORT_HIGH,
        direct: EFFORT_LOW,
        efforts: &["low", "high"],
        ..FIXED
    },
    // Each has its own scale and no known OFF; a value outside the scale is an error.
    Family {
        id: "own_scale",
        names: &["ring-2.6", "muse-spark", "muse", "beam", "k2-horizon"],
        ..FIXED
    },
];
