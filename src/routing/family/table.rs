//! The table of families: one row for each distinct way to switch reasoning, most specific names first.
//!
//! Sources: vLLM 0.33 (reasoning parsers, recipes and `reasoning_outputs.md`), the chat templates on the model cards, and the
//! API references of OpenAI, DeepSeek, OpenRouter, Alibaba DashScope and Ollama, as of November 2026.
//!
//! Rules that shaped the rows:
//! * On vLLM and SGLang the switch goes into `chat_template_kwargs`: the only one that works across their versions. Variables
//!   that a template does not know are dropped. Mistral's tokenizers answer 400 to it and take the top-level effort.
//! * ON is the level at which the model thinks when it thinks by default; which effort is worth it is the operator's to say.
//! * A model without OFF gets its lowest effort for `direct`; one whose scale is not known is left alone.

use std::borrow::Cow;

use super::{Family, Unsaid};
use crate::openai::Change;

const fn set(path: &'static [&'static str], json: &'static str) -> Change {
    Change::Set(path, Cow::Borrowed(json))
}

const ENABLE: &[&str] = &["chat_template_kwargs", "enable_thinking"];
const THINKING: &[&str] = &["chat_template_kwargs", "thinking"];
const TEMPLATE_EFFORT: &[&str] = &["chat_template_kwargs", "reasoning_effort"];
const TEMPLATE_MODE: &[&str] = &["chat_template_kwargs", "thinking_mode"];
const TEMPLATE_BUDGET: &[&str] = &["chat_template_kwargs", "thinking_budget"];
const TEMPLATE_REASONING: &[&str] = &["chat_template_kwargs", "reasoning"];
const EFFORT: &[&str] = &["reasoning_effort"];

const ENABLE_ON: &[Change] = &[set(ENABLE, "true")];
const ENABLE_OFF: &[Change] = &[set(ENABLE, "false")];
const THINKING_ON: &[Change] = &[set(THINKING, "true")];
const THINKING_OFF: &[Change] = &[set(THINKING, "false")];
const EFFORT_NONE: &[Change] = &[set(EFFORT, "\"none\"")];
const EFFORT_MINIMAL: &[Change] = &[set(EFFORT, "\"minimal\"")];
const EFFORT_LOW: &[Change] = &[set(EFFORT, "\"low\"")];
const EFFORT_MEDIUM: &[Change] = &[set(EFFORT, "\"medium\"")];
const EFFORT_HIGH: &[Change] = &[set(EFFORT, "\"high\"")];

/// A family that cannot switch, from which the others are varied.
const FIXED: Family = Family {
    id: "",
    names: &[],
    default: Unsaid::Reasons,
    reasoning: &[],
    direct: &[],
    efforts: &[],
    soft_switches: &[],
};

/// `enable_thinking` in the chat template, on unless said otherwise: the commonest switch.
const ENABLE_FLAG: Family = Family {
    reasoning: ENABLE_ON,
    direct: ENABLE_OFF,
    ..FIXED
};

/// `thinking` in the chat template, on unless said otherwise.
const THINKING_FLAG: Family = Family {
    reasoning: THINKING_ON,
    direct: THINKING_OFF,
    ..FIXED
};

/// Every family, the most specific names first.
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
    }, // no soft switch any more
    // Thinks at xhigh; `high` is not on its scale. The flag alone keeps whatever effort the operator set as default.
    Family {
        id: "qwen3_8",
        names: &["qwen3.8"],
        efforts: &["low", "medium", "xhigh"],
        ..ENABLE_FLAG
    },
    // Qwen3 behind a server without chat_template_kwargs (TGI): the words the template reads.
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
        default: Unsaid::Direct,
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
        default: Unsaid::Depends,
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
    // Cannot be turned off and ignores enable_thinking; an effort it does not know means max. The effort stands at the head of
    // the prompt, so changing it within a conversation costs the prefix cache.
    Family {
        id: "glm_5_3",
        names: &["glm-5.3"],
        reasoning: &[set(TEMPLATE_EFFORT, "\"max\"")],
        direct: &[set(TEMPLATE_EFFORT, "\"low\"")],
        efforts: &["low", "high", "max"],
        ..FIXED
    },
    // --- OpenAI's open weights: no OFF; none, minimal, xhigh and max are a 400, the template's variables are ignored ---
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
        default: Unsaid::Direct,
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
        default: Unsaid::Direct,
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
    // --- MiniMax: a third value, adaptive, is what it does by itself ---
    Family {
        id: "minimax_m3",
        names: &["minimax-m3"],
        default: Unsaid::Depends,
        reasoning: &[set(TEMPLATE_MODE, "\"enabled\"")],
        direct: &[set(TEMPLATE_MODE, "\"disabled\"")],
        ..FIXED
    },
    // --- Mistral: the effort knows none and high only, and chat_template_kwargs is a 400 ---
    Family {
        id: "mistral",
        names: &["mistral-small-4", "mistral-medium-3.5"],
        default: Unsaid::Direct,
        reasoning: EFFORT_HIGH,
        direct: EFFORT_NONE,
        efforts: &["none", "high"],
        ..FIXED
    },
    // --- Google ---
    Family {
        id: "gemma4",
        names: &["gemma-4", "gemma4"],
        default: Unsaid::Direct,
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
    // Recipe and parser disagree on the default; sent explicitly, it does not matter.
    Family {
        id: "mimo",
        names: &["mimo-v2", "mimo-v2.5"],
        default: Unsaid::Depends,
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
        default: Unsaid::Direct,
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
    // Scales of their own and no known OFF; a value they do not know is an error.
    Family {
        id: "own_scale",
        names: &["ring-2.6", "muse-spark", "muse", "beam", "k2-horizon"],
        ..FIXED
    },
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
