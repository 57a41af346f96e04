//! How each model family switches reasoning, and which family a model belongs to.
//!
//! The families are a table: one row for each distinct way to switch reasoning, the most specific names first. The rows are in
//! [`fixed`], [`open_weights`] and [`hosted`]. This file says what a row means and how a row is found.
//!
//! Sources: vLLM 0.33 (reasoning parsers, recipes and `reasoning_outputs.md`), the chat templates on the model cards, and the
//! API references of OpenAI, DeepSeek, OpenRouter, Alibaba DashScope and Ollama, as of November 2026.
//!
//! Rules for the rows:
//! * On vLLM and SGLang the switch goes into `chat_template_kwargs`: it is the only one that works across their versions.
//!   Templates drop variables that they do not know. Mistral's tokenizers answer 400 to `chat_template_kwargs` and take the
//!   top-level effort.
//! * ON is the level at which the model thinks by default. The operator decides which effort is worth its cost.
//! * A model without OFF gets its lowest effort for `direct`. A model whose scale is not known is left alone.
//! * A request whose answer may have fewer tokens than the row's floor is answered directly.

mod fixed;
mod hosted;
mod names;
mod open_weights;
mod switches;

use crate::api::Change;

/// One row of the table: a distinct way to switch reasoning.
#[derive(Debug)]
pub struct Family {
    /// The name in `models.X.family`. Rows of servers whose models differ (`openai`, `ollama`) share an id.
    pub id: &'static str,
    /// Patterns of model ids, lower case; see [`names`]. Empty: the row is found by its id alone.
    pub names: &'static [&'static str],
    /// What the model does when a request says nothing about reasoning.
    pub default: DefaultMode,
    /// The changes that make it reason. Empty together with `direct`: it cannot switch.
    pub reasoning: &'static [Change],
    /// The changes that make it answer directly, or with its lowest effort where it has no OFF.
    pub direct: &'static [Change],
    /// The efforts that the family accepts. A server answers 400 to any other value, or takes it for the highest.
    pub efforts: &'static [&'static str],
    /// The fewest tokens that hold a thought and an answer. A request that allows fewer is answered directly: thinking would
    /// leave no room for an answer. 0 where the model does not think.
    pub floor: u64,
    /// Words in a turn of the user that the model's template obeys.
    pub soft_switches: &'static [&'static str],
}

/// What a model does when a request says nothing about reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultMode {
    /// It reasons.
    Reasons,
    /// It answers directly.
    Direct,
    /// The model decides for itself, or it depends on the model or the server behind the name.
    Depends,
}

/// Every row, the most specific names first: of two rows that match a name, the first is taken.
pub fn all() -> impl Iterator<Item = &'static Family> {
    [fixed::FAMILIES, open_weights::FAMILIES, hosted::FAMILIES]
        .into_iter()
        .flatten()
}

impl Family {
    /// True when a request can make the model reason or not.
    pub fn can_switch(&self) -> bool {
        !self.direct.is_empty()
    }

    /// The family with this id. Where several rows share it, the one that matches `model`, else the last.
    pub fn by_id(id: &str, model: &str) -> Option<&'static Self> {
        let model = names::normalize(model);
        let rows = || all().filter(|family| family.id == id);
        rows()
            .find(|family| names::matches_any(family.names, &model))
            .or_else(|| rows().last())
    }

    /// The family of a model as `/v1/models` describes it: by `id`, then `root`, then `parent`. `None`: not recognised.
    pub fn recognise(id: &str, root: Option<&str>, parent: Option<&str>) -> Option<&'static Self> {
        [Some(id), root, parent]
            .into_iter()
            .flatten()
            .find_map(|name| {
                let name = names::normalize(name);
                all().find(|family| names::matches_any(family.names, &name))
            })
    }

    /// Every id once, in the order of the table; for messages.
    pub fn ids() -> Vec<&'static str> {
        let mut ids: Vec<_> = all().map(|family| family.id).collect();
        ids.dedup();
        ids
    }

    /// True when the last turn of the user holds one of the family's soft switches as a word.
    pub fn is_soft_switched(&self, turn: &str) -> bool {
        let is_word = |(start, word): (usize, &str)| {
            let before = turn[..start].chars().next_back();
            let after = turn[start + word.len()..].chars().next();
            before.is_none_or(char::is_whitespace)
                && after.is_none_or(|c| c.is_whitespace() || matches!(c, '.' | ',' | '!' | '?'))
        };
        // A substring search: splitting a prompt of megabytes into its words would cost more.
        self.soft_switches
            .iter()
            .any(|switch| turn.match_indices(switch).any(is_word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family_of(id: &str) -> &'static str {
        Family::recognise(id, None, None).map_or("unknown", |family| family.id)
    }

    #[test]
    fn models_are_recognised_by_their_ids() {
        for (id, family) in [
            ("Qwen/Qwen3-30B-A3B", "qwen3"),
            ("Qwen/Qwen3-0.6B-FP8", "qwen3"),
            ("qwen3:8b", "qwen3"),
            ("Qwen/Qwen3.5-35B-A3B", "qwen3_5"),
            ("Qwen3.6-27B", "qwen3_5"),
            ("Qwen/Qwen3.8-27B", "qwen3_8"),
            ("Qwen/Qwen3-30B-A3B-Thinking-2507", "always"),
            ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "never"),
            ("Qwen/Qwen3-Coder-480B-A35B-Instruct", "never"),
            ("Qwen/Qwen3-Next-80B-A3B-Instruct", "never"),
            ("Qwen/QwQ-32B", "always"),
            ("deepseek-ai/DeepSeek-R1-0528-Qwen3-8B", "always"),
            ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "always"),
            ("deepseek-ai/DeepSeek-V3.1-Terminus", "deepseek_v3_1"),
            ("deepseek-ai/DeepSeek-V3.2-Exp", "deepseek_v3_1"),
            ("deepseek-ai/DeepSeek-V4-Flash", "deepseek_v4"),
            ("deepseek-ai/DeepSeek-V4.1", "deepseek_v4_1"),
            ("zai-org/GLM-4.6-FP8", "glm"),
            ("zai-org/GLM-5.1", "glm"),
            ("zai-org/GLM-5.3", "glm_5_3"),
            ("openai/gpt-oss-120b", "gpt_oss"),
            ("ibm-granite/granite-3.2-8b-instruct", "granite"),
            ("ibm-granite/granite-4.2-8b", "granite_4_2"),
            ("tencent/Hunyuan-A13B-Instruct", "hunyuan"),
            ("tencent/Hy3-preview", "hunyuan_3"),
            ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nemotron"),
            ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", "nemotron_v2"),
            ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", "llama_nemotron"),
            ("nvidia/Llama-3_3-Nemotron-Super-49B-v1_5", "nemotron_v2"),
            ("moonshotai/Kimi-K2-Thinking", "always"),
            ("moonshotai/Kimi-K2-Instruct", "never"),
            ("moonshotai/Kimi-K2.5", "kimi"),
            ("moonshotai/Kimi-K3", "kimi_k3"),
            ("MiniMaxAI/MiniMax-M2.1", "always"),
            ("MiniMaxAI/MiniMax-M3", "minimax_m3"),
            ("mistralai/Mistral-Small-4-119B", "mistral"),
            ("mistralai/Magistral-Small-2509", "always"),
            ("mistralai/Ministral-3-8B-Instruct-2512", "never"),
            ("google/gemma-4-31b-it", "gemma4"),
            ("google/gemma-3-27b-it", "never"),
            ("ByteDance-Seed/Seed-OSS-36B-Instruct", "seed_oss"),
            ("microsoft/Phi-4-reasoning-plus", "always"),
            ("meta-llama/Llama-3.3-70B-Instruct", "never"),
            ("gpt-5.1", "openai"),
            ("o3-mini", "openai"),
            ("deepseek-chat", "deepseek_api"),
            ("tiny_qwen3", "qwen3"),
            ("/models/models--Qwen--Qwen3-8B/snapshots/0a1b2c", "qwen3"),
            ("Qwen3.9-9B", "unknown"),
            ("qwen30", "unknown"),
            ("my-model", "unknown"),
        ] {
            assert_eq!(family_of(id), family, "{id}");
        }
    }

    #[test]
    fn the_root_shows_the_family_that_a_served_name_hides() {
        let family = Family::recognise("chat", Some("/data/Qwen3-4B"), None).unwrap();
        assert_eq!(family.id, "qwen3");
        assert_eq!(
            Family::recognise("my-lora", Some("my-lora"), Some("Qwen/Qwen3-8B"))
                .unwrap()
                .id,
            "qwen3"
        );
    }

    #[test]
    fn one_id_has_a_row_for_each_scale() {
        let effort = |model| Family::by_id("openai", model).unwrap().efforts;
        assert_eq!(effort("gpt-5-mini").first(), Some(&"minimal"));
        assert_eq!(effort("gpt-5.2").first(), Some(&"none"));
        assert!(!Family::by_id("openai", "gpt-4o").unwrap().can_switch());
        assert_eq!(
            Family::by_id("ollama", "gpt-oss:20b").unwrap().efforts,
            ["low", "medium", "high"]
        );
        assert!(Family::by_id("qwen4", "").is_none());
    }

    #[test]
    fn soft_switches_are_whole_words_of_families_that_have_them() {
        let qwen3 = Family::by_id("qwen3", "").unwrap();
        assert!(qwen3.is_soft_switched("What is 2+2? /no_think"));
        assert!(qwen3.is_soft_switched("/think."));
        assert!(!qwen3.is_soft_switched("open a/no_think/file, /no_thinking, or x /no_think/y"));
        assert!(
            !Family::by_id("qwen3_5", "")
                .unwrap()
                .is_soft_switched("hello /no_think")
        );
    }

    #[test]
    fn every_family_that_thinks_has_a_floor() {
        for family in all() {
            let never_thinks = family.default == DefaultMode::Direct && !family.can_switch();
            assert_eq!(family.floor == 0, never_thinks, "{}", family.id);
        }
    }

    #[test]
    fn no_row_sends_an_effort_outside_its_scale_or_switches_one_way_only() {
        for family in all() {
            assert_eq!(
                family.reasoning.is_empty(),
                family.direct.is_empty(),
                "{}",
                family.id
            );
            for change in family.reasoning.iter().chain(family.direct) {
                let Change::Set([.., "reasoning_effort" | "effort"], json) = change else {
                    continue;
                };
                let value = json.trim_matches('"');
                assert!(
                    family.efforts.contains(&value),
                    "{} sends {value}",
                    family.id
                );
            }
        }
    }
}
