//! What the outputs of a model mean: logits become the probability of reasoning and of each domain.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde::Deserialize;

use super::{Classification, Domain, error::LoadError};
use crate::config::read_file;

/// The meaning of a model's outputs, from its `config.json`.
#[derive(Debug, Clone)]
pub struct Labels {
    /// For each logit, whether its label means reasoning.
    reasoning: Vec<bool>,
    /// The label of each domain logit.
    pub domains: Vec<Arc<str>>,
    /// The longest sequence the model should get: the smaller of `thinkgate.max_tokens` and `max_position_embeddings`.
    pub max_tokens: Option<usize>,
    /// The token id that pads shorter sequences of a batch.
    pub pad_id: i64,
    /// When the early exit is confident, for a model that has one.
    pub exit: Option<EarlyExit>,
}

#[derive(Deserialize)]
struct ConfigJson {
    id2label: BTreeMap<String, String>,
    #[serde(default)]
    pad_token_id: Option<i64>,
    #[serde(default)]
    max_position_embeddings: Option<usize>,
    #[serde(default)]
    thinkgate: Option<ThinkgateSection>,
}

#[derive(Deserialize)]
struct ThinkgateSection {
    reasoning_labels: Vec<String>,
    #[serde(default)]
    domain_labels: Vec<String>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    early_exit: Option<EarlyExit>,
}

/// When the answer of an early exit counts. The graph contains the same rule.
#[derive(Debug, Clone, Deserialize)]
pub struct EarlyExit {
    /// The minimum probability of reasoning, or of no reasoning.
    #[serde(rename = "sure")]
    min_confidence: f64,
    /// The minimum probability of the likeliest domain.
    #[serde(rename = "named")]
    min_domain_confidence: f64,
    /// The label of texts without a domain. It needs no minimum probability.
    #[serde(rename = "unnamed")]
    no_domain_label: String,
    /// The most tokens that the layers behind the exit read of a text, if fewer than the exit reads.
    #[serde(rename = "read")]
    pub full_max_tokens: Option<usize>,
}

impl EarlyExit {
    /// True when the exit's classification is the answer.
    pub fn is_confident(&self, seen: &Classification) -> bool {
        seen.score.max(1.0 - seen.score) >= self.min_confidence
            && seen.domain.as_ref().is_none_or(|domain| {
                domain.score >= self.min_domain_confidence || *domain.label == *self.no_domain_label
            })
    }
}

impl ConfigJson {
    /// The labels in the order of their ids. `None` when the ids are not 0, 1, 2, ..
    fn labels(&self) -> Option<Vec<String>> {
        (0..self.id2label.len())
            .map(|id| self.id2label.get(&id.to_string()).cloned())
            .collect()
    }
}

impl ThinkgateSection {
    /// For each label, whether it means reasoning. The error says why the labels cannot be split.
    fn reasoning(&self, labels: &[String]) -> Result<Vec<bool>, String> {
        let mut reasoning_labels = self.reasoning_labels.iter();
        if let Some(unknown) = reasoning_labels.find(|label| !labels.contains(label)) {
            return Err(format!(
                "thinkgate.reasoning_labels names `{unknown}`, which is no label"
            ));
        }
        let is_reasoning = |label: &String| self.reasoning_labels.contains(label);
        let reasoning: Vec<bool> = labels.iter().map(is_reasoning).collect();
        if reasoning.contains(&true) && reasoning.contains(&false) {
            return Ok(reasoning);
        }
        Err("thinkgate.reasoning_labels must name some of the labels, not all or none".into())
    }
}

impl Labels {
    /// Reads `config.json`.
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        let broken = |why: String| LoadError::Broken {
            file: file.to_owned(),
            why,
        };
        let text = read_file(file).map_err(broken)?;
        let config: ConfigJson =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        let labels = config
            .labels()
            .ok_or_else(|| broken("id2label must number its labels from 0".into()))?;
        let bad_labels = |why: String| LoadError::Labels {
            file: file.to_owned(),
            labels: labels.join(", "),
            why,
        };
        let section = config
            .thinkgate
            .ok_or_else(|| bad_labels("thinkgate.reasoning_labels is missing".into()))?;
        let reasoning = section.reasoning(&labels).map_err(bad_labels)?;
        let domains = section.domain_labels.into_iter().map(Arc::from).collect();
        Ok(Self {
            reasoning,
            domains,
            max_tokens: section
                .max_tokens
                .into_iter()
                .chain(config.max_position_embeddings)
                .min(),
            pad_id: config.pad_token_id.unwrap_or(0),
            exit: section.early_exit,
        })
    }

    /// The number of logits of the first head.
    pub fn logit_count(&self) -> usize {
        self.reasoning.len()
    }

    /// The probability of reasoning, 0 to 1. `None` when a logit is not finite.
    pub fn score(&self, logits: &[f32]) -> Option<f64> {
        let probabilities = softmax(logits)?;
        Some(
            probabilities
                .iter()
                .zip(&self.reasoning)
                .filter(|(_, reasoning)| **reasoning)
                .map(|(p, _)| p)
                .sum(),
        )
    }

    /// The likeliest domain. `None` when the model has no domain labels or a logit is not finite.
    pub fn domain(&self, logits: &[f32]) -> Option<Domain> {
        let probabilities = softmax(logits)?;
        let (best, score) = probabilities
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))?;
        Some(Domain {
            label: self.domains.get(best)?.clone(),
            score: *score,
        })
    }
}

/// Softmax in double precision, shifted by the maximum so that no exponent overflows.
fn softmax(logits: &[f32]) -> Option<Vec<f64>> {
    if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponents: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - max).exp())
        .collect();
    let sum: f64 = exponents.iter().sum();
    Some(
        exponents
            .into_iter()
            .map(|exponent| exponent / sum)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(json: &str) -> Result<Labels, LoadError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.json");
        std::fs::write(&file, json).unwrap();
        Labels::load(&file)
    }

    #[test]
    fn the_score_is_the_probability_of_the_reasoning_labels() {
        let labels = load(
            r#"{"id2label":{"0":"law","1":"math","2":"physics"},"thinkgate":{"reasoning_labels":["math","physics"]}}"#,
        )
        .unwrap();
        assert!((labels.score(&[0.0, 0.0, 0.0]).unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!(labels.score(&[1000.0, -1000.0, 0.0]).unwrap() < 1e-6);
        assert_eq!(labels.score(&[f32::NAN, 0.0, 0.0]), None);
        assert_eq!(labels.score(&[f32::INFINITY, 0.0, 0.0]), None);
    }

    #[test]
    fn labels_that_do_not_split_are_one_clear_error() {
        for (section, says) in [
            (r#""x":1"#, "is missing"),
            (
                r#""thinkgate":{"reasoning_labels":["maths"]}"#,
                "`maths`, which is no label",
            ),
            (r#""thinkgate":{"reasoning_labels":[]}"#, "not all or none"),
        ] {
            let error = load(&format!(
                r#"{{"id2label":{{"0":"law","1":"math"}},{section}}}"#
            ))
            .unwrap_err()
            .to_string();
            assert!(
                error.contains(says)
                    && error.contains("law, math")
                    && error.contains("--reasoning-labels"),
                "{error}"
            );
        }
    }
}
