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
//! * A request whose answer may have fewer tokens than the row's floor is answered directly, whatever it asks.

mod fixed;
mod hosted;
mod open_weights;
mod switches;

use super::Family;

/// Every row, the most specific names first: of two rows that fit a name, the first is taken.
pub fn all() -> impl Iterator<Item = &'static Family> {
    [fixed::FAMILIES, open_weights::FAMILIES, hosted::FAMILIES]
        .into_iter()
        .flatten()
}
