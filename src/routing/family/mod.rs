//! How each model family switches reasoning, and which family a model belongs to.
//!
//! The facts are data, in [`table`]; here is what a row means and how a row is found.

mod names;
mod table;

use crate::api::Change;

pub use table::all;

/// One row of the table: a distinct way to switch reasoning.
#[derive(Debug)]
pub struct Family {
    /// The name in `models.X.family`. Rows of servers whose models differ (`openai`, `ollama`) share an id.
    pub id: &'static str,
    /// What model ids look like, lower case, most specific row first; see [`names`]. Empty: found by id alone.
    pub names: &'static [&'static str],
    /// What the model does when nothing is said.
    pub default: Unsaid,
    /// The changes that make it reason. Empty together with `direct`: it cannot switch.
    pub reasoning: &'static [Change],
    /// The changes that make it answer directly, or with its lowest effort where it has no OFF.
    pub direct: &'static [Change],
    /// The efforts the family accepts. A value outside is a 400, or worse, silently the highest.
    pub efforts: &'static [&'static str],
    /// The fewest tokens that hold a thought and an answer. A request that allows fewer is answered directly: thinking would
    /// leave it without an answer. 0 where the model does not think.
    pub floor: u64,
    /// Words in a turn of the user that the model's template obeys.
    pub soft_switches: &'static [&'static str],
}

/// What a model does when a request says nothing about reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// It reasons.
    Reasons,
    /// It answers directly.
    Direct,
    /// It decides for itself, or it depends on the model or the server behind the name.
    Depends,
}

impl Family {
    /// True when a request can make the model reason or not.
    pub fn can_switch(&self) -> bool {
        !self.direct.is_empty()
    }

    /// The family with this id. Where several rows share it, the one that fits `model`, else the last.
    pub fn by_id(id: &str, model: &str) -> Option<&'static Self> {
        let model = names::normal(model);
        let rows = || all().filter(|family| family.id == id);
        rows()
            .find(|family| names::any(family.names, &model))
            .or_else(|| rows().last())
    }

    /// The family of a model as `/v1/models` describes it: by `id`, then `root`, then `parent`. `None`: not recognised.
    pub fn recognise(id: &str, root: Option<&str>, parent: Option<&str>) -> Option<&'static Self> {
        [Some(id), root, parent]
            .into_iter()
            .flatten()
            .find_map(|name| {
                let name = names::normal(name);
                all().find(|family| names::any(family.names, &name))
            })
    }

    /// Every id once, in the order of the table; for messages.
    pub fn ids() -> Vec<&'static str> {
        let mut ids: Vec<_> = all().map(|family| family.id).collect();
        ids.dedup();
        ids
    }

    /// True when the last turn of the user switches this family by itself.
    pub fn is_soft_switched(&self, turn: &str) -> bool {
        let is_word = |(start, word): (usize, &str)| {
            let before = turn[..start].chars().next_back();
            let after = turn[start + word.len()..].chars().next();
            before.is_none_or(char::is_whitespace)
                && after.is_none_or(|c| c.is_whitespace() || matches!(c, '.' | ',' | '!' | '?'))
        };
        // Searched for as they stand: a prompt of megabytes must not be taken apart into its words.
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
    fn the_root_tells_what_a_served_name_hides() {
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
    fn whatever_thinks_has_a_floor() {
        for family in all() {
            let never_thinks = family.default == Unsaid::Direct && !family.can_switch();
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
