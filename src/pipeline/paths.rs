//! Which requests are judged, and what the others are called.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::api::CHAT;

/// vLLM's unversioned inference routes. Its admin routes (`/sleep`, `/reset_prefix_cache`, ..) are not for clients.
pub const UNVERSIONED: [&str; 6] = [
    "/tokenize",
    "/detokenize",
    "/rerank",
    "/score",
    "/pooling",
    "/classify",
];

/// vLLM's admin routes that stand among the versioned ones, and spellings of the judged route that a server would redirect
/// past us.
pub const NOT_FOR_CLIENTS: [&str; 3] = [
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/v1/chat/completions/",
];

/// A path as its server will read it: letters may be spelt with `%`.
pub fn decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// The route with rules of its own that a path is to a server and is not by its letters: to go on as any other, it would go past
/// these rules. Servers decode `%`; a URL's `\` is a `/` to the client that sends it on.
pub fn disguised(path: &str) -> Option<String> {
    // An id of a model may be spelt as it likes: it is read decoded here too.
    if !path.contains(['%', '\\']) || listed(path).is_some() {
        return None;
    }
    let meant = decoded(path).replace('\\', "/");
    let has_rules = meant == CHAT || NOT_FOR_CLIENTS.contains(&&*meant) || listed(&meant).is_some();
    has_rules.then_some(meant)
}

/// Of the paths where models are listed what follows `/v1/models`: nothing, or a slash and the id of one.
pub fn listed(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/models")
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// True for a path that names a model in its body, judged or not.
pub fn is_inference(path: &str) -> bool {
    path.starts_with("/v1/") || UNVERSIONED.contains(&path)
}

/// A route that is not judged, as a label: one of a closed set, never a client's text.
pub fn route_name(path: &str) -> &'static str {
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
    fn a_route_in_another_spelling_is_seen() {
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
            assert_eq!(disguised(path).as_deref(), meant, "{path}");
        }
    }
}
