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

/// Two lists of the same models are equal, whenever they were asked for: vLLM writes the time of the question into every
/// entry, and draws ids for its permissions.
impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        const LASTS: [&str; 4] = ["id", "root", "parent", "max_model_len"];
        let same =
            |(one, another): (&Value, &Value)| LASTS.iter().all(|key| one[key] == another[key]);
        self.data.len() == other.data.len() && self.data.iter().zip(&other.data).all(same)
    }
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
