//! The paths that are known: which may pass, which have rules of their own, and what each is called in metrics.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::{api::CHAT, error::Error};

/// vLLM's unversioned inference routes. Its admin routes (`/sleep`, `/reset_prefix_cache`, ..) are not for clients.
pub const UNVERSIONED: [&str; 6] = [
    "/tokenize",
    "/detokenize",
    "/rerank",
    "/score",
    "/pooling",
    "/classify",
];

/// Paths under `/v1` that are not for clients: vLLM's admin routes, and a spelling of the judged route that a server would
/// redirect past us.
pub const DENIED: [&str; 3] = [
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/v1/chat/completions/",
];

/// A path with its percent-encoded characters decoded once, as a server reads it.
pub fn percent_decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// The route that a server would decode this path to, when that route has rules of its own and the path as it is written is
/// another one. Forwarded like any other path, it would evade those rules. Servers decode `%`; an HTTP client that sends the
/// path on reads `\` as `/`.
pub fn encoded_alias(path: &str) -> Option<String> {
    // A model's id may be spelt in any way: it is decoded here too.
    if !path.contains(['%', '\\']) || listed_models(path).is_some() {
        return None;
    }
    let route = percent_decoded(path).replace('\\', "/");
    let has_rules = route == CHAT || DENIED.contains(&&*route) || listed_models(&route).is_some();
    has_rules.then_some(route)
}

/// The 404 for a path that [`encoded_alias`] found to be `route`. It is refused rather than served as that route: how often the
/// servers behind us decode a path is not known here, and no client encodes these paths on purpose.
pub fn alias_not_found(path: &str, route: &str) -> Error {
    let hint = match DENIED.contains(&route) {
        true => String::new(),
        false => format!(" Write it as {route}."),
    };
    Error::RouteNotFound(format!("There is nothing at {path}.{hint}"))
}

/// True for a path with a `.` or `..` segment, raw or encoded: a server that resolves it would serve another path.
pub fn has_dot_segment(path: &str) -> bool {
    let is_dot = |segment: &str| matches!(segment, "." | "..");
    path.contains(['.', '%', '\\']) && percent_decoded(path).split(['/', '\\']).any(is_dot)
}

/// What follows `/v1/models` in a path that lists models: nothing, or a slash and a model's id.
pub fn listed_models(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/models")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// True for a path that names a model in its body, judged or not.
pub fn is_inference(path: &str) -> bool {
    path.starts_with("/v1/") || UNVERSIONED.contains(&path)
}

/// The metric label of a route that is not judged: one of a closed set, never a client's text.
pub fn route_label(path: &str) -> &'static str {
    const VERSIONED: [&str; 6] = [
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
    ];
    let known = VERSIONED
        .into_iter()
        .chain(UNVERSIONED)
        .find(|known| *known == path);
    known.unwrap_or("/v1/*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_path_of_a_route_with_rules_is_recognised() {
        for (path, meant) in [
            ("/v1/load%5Flora_adapter", Some("/v1/load_lora_adapter")),
            ("/v1/chat%2fcompletions", Some("/v1/chat/completions")),
            ("/v1/chat\\completions", Some("/v1/chat/completions")),
            ("/v1/%6Dodels", Some("/v1/models")),
            ("/v1/models%2Fa", Some("/v1/models/a")),
            // not another spelling, or of nothing that has rules
            ("/v1/chat/completions", None),
            ("/v1/models/a%2Fb", None),
            ("/v1/%63ompletions", None),
            // decoded once, as servers do
            ("/v1/load%255Flora_adapter", None),
        ] {
            assert_eq!(encoded_alias(path).as_deref(), meant, "{path}");
        }
    }

    #[test]
    fn a_dot_segment_is_recognised_raw_or_encoded() {
        for (path, expected) in [
            ("/v1/../admin", true),
            ("/v1/%2e%2E/admin", true),
            ("/v1/./x", true),
            ("/v1/a%2F..%2Fb", true),
            ("/v1/models/Qwen3.5", false),
            ("/v1/models/a..b", false),
            ("/v1/x?q=/../", false),
        ] {
            let uri: http::Uri = path.parse().unwrap();
            assert_eq!(has_dot_segment(uri.path()), expected, "{path}");
        }
    }
}
