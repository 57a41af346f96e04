//! What the model servers report: the models they list, and how they render a prompt.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{config::BaseUrl, upstream::probe::ProbeFindings};

/// A server's answer to `GET /v1/models`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Listing {
    /// The entries as the server wrote them, one per model.
    pub data: Vec<Value>,
}

/// Two listings of the same models are equal, also when their times and permission ids differ.
impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Value, &Value)| is_same_model(one, other);
        self.data.len() == other.data.len() && self.data.iter().zip(&other.data).all(same)
    }
}

impl Listing {
    /// The entry of a model.
    pub fn entry(&self, id: &str) -> Option<&Value> {
        self.data.iter().find(|entry| entry["id"] == id)
    }

    /// True if both listings describe this model equally, or both lack it.
    pub fn agrees(&self, other: &Self, id: &str) -> bool {
        match (self.entry(id), other.entry(id)) {
            (Some(one), Some(other)) => is_same_model(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// Compares the fields that describe a model. vLLM writes the current time and random permission ids into every answer.
fn is_same_model(one: &Value, other: &Value) -> bool {
    const STABLE_FIELDS: [&str; 4] = ["id", "root", "parent", "max_model_len"];
    STABLE_FIELDS.iter().all(|key| one[key] == other[key])
}

/// The latest listing of every server that ever answered.
pub type Listings = BTreeMap<BaseUrl, Listing>;

/// Everything the model servers have reported so far.
#[derive(Debug, Clone, Default)]
pub struct ServerFacts {
    /// The models they list.
    pub listings: Listings,
    /// The switches of their models, by the server and the model's name there.
    pub probes: BTreeMap<(BaseUrl, String), ProbeFindings>,
}

impl ServerFacts {
    /// Stores a server's new listing. Probe findings are kept until the next probe, unless the name now stands for another model.
    pub fn update(&mut self, url: &BaseUrl, listing: Listing) {
        if let Some(before) = self.listings.get(url) {
            let is_same = |id: &str| match (before.entry(id), listing.entry(id)) {
                (Some(before), Some(now)) => before["root"] == now["root"],
                _ => true,
            };
            self.probes
                .retain(|(server, id), _| server != url || is_same(id));
        }
        self.listings.insert(url.clone(), listing);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{routing::Family, upstream::ProbeFindings};

    #[test]
    fn probe_findings_last_until_the_name_stands_for_another_model() {
        let url = BaseUrl::parse("http://a").unwrap();
        let listing = |entries| Listing {
            data: Vec::from_iter(entries),
        };
        let probed = ProbeFindings {
            family: Family::by_id("thinking", "m").unwrap(),
            default: None,
            diverges_at: None,
        };
        let mut facts = ServerFacts::default();
        facts.update(&url, listing([json!({"id": "m", "root": "a"})]));
        facts.probes.insert((url.clone(), "m".into()), probed);
        facts.update(&url, listing([json!({"id": "other"})]));
        facts.update(
            &url,
            listing([json!({"id": "m", "root": "a", "created": 3})]),
        );
        assert_eq!(facts.probes.len(), 1);
        facts.update(&url, listing([json!({"id": "m", "root": "b"})]));
        assert!(facts.probes.is_empty());
    }
}
