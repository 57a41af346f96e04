//! What servers say of themselves: the models they list, and how they render a prompt.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{config::BaseUrl, upstream::Probed};

/// What one server's `/v1/models` says, the entries as it wrote them.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Listing {
    /// One entry a model.
    pub data: Vec<Value>,
}

/// Two lists of the same models are equal, whenever they were asked for.
impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, another): (&Value, &Value)| is_same(one, another);
        self.data.len() == other.data.len() && self.data.iter().zip(&other.data).all(same)
    }
}

impl Listing {
    /// The entry of a model.
    pub fn entry(&self, id: &str) -> Option<&Value> {
        self.data.iter().find(|entry| entry["id"] == id)
    }

    /// True when both say the same of a model, or both nothing.
    pub fn agrees(&self, other: &Self, id: &str) -> bool {
        match (self.entry(id), other.entry(id)) {
            (Some(one), Some(another)) => is_same(one, another),
            (one, another) => one.is_none() && another.is_none(),
        }
    }
}

/// vLLM writes the time of the question into every entry, and draws ids for its permissions.
fn is_same(one: &Value, another: &Value) -> bool {
    const LASTS: [&str; 4] = ["id", "root", "parent", "max_model_len"];
    LASTS.iter().all(|key| one[key] == another[key])
}

/// The latest listing of every server that ever answered.
pub type Listings = BTreeMap<BaseUrl, Listing>;

/// What servers say of themselves.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What they list.
    pub listings: Listings,
    /// Which switch their models obey, by the server and the model's name there.
    pub probes: BTreeMap<(BaseUrl, String), Probed>,
}

impl Known {
    /// Takes up a server's list. What was found out of a model lasts until it is asked again, unless another model stands behind
    /// its name now.
    pub fn take_up(&mut self, url: &BaseUrl, listing: Listing) {
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
    use crate::{routing::Family, upstream::Probed};

    #[test]
    fn what_was_found_out_of_a_model_lasts_while_it_stands_behind_its_name() {
        let url = BaseUrl::parse("http://a").unwrap();
        let listing = |entries| Listing {
            data: Vec::from_iter(entries),
        };
        let probed = Probed {
            family: Family::by_id("thinking", "m").unwrap(),
            default: None,
            changes: None,
        };
        let mut known = Known::default();
        known.take_up(&url, listing([json!({"id": "m", "root": "a"})]));
        known.probes.insert((url.clone(), "m".into()), probed);
        known.take_up(&url, listing([json!({"id": "other"})]));
        known.take_up(
            &url,
            listing([json!({"id": "m", "root": "a", "created": 3})]),
        );
        assert_eq!(known.probes.len(), 1);
        known.take_up(&url, listing([json!({"id": "m", "root": "b"})]));
        assert!(known.probes.is_empty());
    }
}
