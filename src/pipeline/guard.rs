//! What no route should see: a path that means another one, and whoever has no key.

use std::sync::Arc;

use http::HeaderMap;

use super::decoded;
use crate::{auth::Caller, error::Error, state::AppState};

/// Whose key a request came with; `None` where no keys are asked for. `path`: without the query.
///
/// # Errors
/// A 400 for a path with a dot segment, a 401 without a key of ours.
pub fn admit(
    state: &AppState,
    path: &str,
    headers: &HeaderMap,
) -> Result<Option<Arc<Caller>>, Error> {
    if has_dot_segment(path) {
        return Err(Error::invalid("The path has a dot segment."));
    }
    state.keys.authenticate(headers)
}

/// `.` and `..`, raw or encoded, mean another path to whoever resolves them later than we do.
fn has_dot_segment(path: &str) -> bool {
    let is_dot = |segment: &str| matches!(segment, "." | "..");
    path.contains(['.', '%', '\\']) && decoded(path).split(['/', '\\']).any(is_dot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_dot_segment_is_seen_raw_or_encoded() {
        for (path, dotted) in [
            ("/v1/../admin", true),
            ("/v1/%2e%2E/admin", true),
            ("/v1/./x", true),
            ("/v1/a%2F..%2Fb", true),
            ("/v1/models/Qwen3.5", false),
            ("/v1/models/a..b", false),
            ("/v1/x?q=/../", false),
        ] {
            let uri: http::Uri = path.parse().unwrap();
            assert_eq!(has_dot_segment(uri.path()), dotted, "{path}");
        }
    }
}
