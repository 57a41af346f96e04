//! The lists of paths: which are judged, which may pass, and which may not.
//!
//! They come from the servers' own route tables: vLLM 0.32 (`/openapi.json` and the routes that its development mode adds),
//! SGLang (`http_server.py`) and llama.cpp (`tools/server`). Under `/v1` everything passes but [`DENIED`]; elsewhere nothing
//! passes but [`UNVERSIONED`]. Each entry has its reason.

use crate::api::CHAT;

/// The routes that are decided before they are forwarded. A new one is a line here and a handler at each door.
pub const JUDGED: [&str; 1] = [CHAT];

/// The route that lists the models; what follows it and a slash is a model's id.
pub const MODELS: &str = "/v1/models";

/// vLLM's route for many conversations in one request. Forwarded, none of them would be judged.
pub const BATCH: &str = "/v1/chat/completions/batch";

/// Paths that never pass, with the reason. One that ends in `/*` stands for every path below it.
pub const DENIED: [(&str, &str); 8] = [
    (
        "/v1/load_lora_adapter",
        "vLLM: loads a file of the server's disk as a model for everybody",
    ),
    (
        "/v1/unload_lora_adapter",
        "vLLM: takes a model away from everybody",
    ),
    (
        "/v1/chat/completions/control",
        "llama.cpp: steers a running answer, which may be another client's",
    ),
    (
        "/v1/stream/*",
        "llama.cpp: reads or ends the answer of a conversation, which may be another client's",
    ),
    (
        "/v1/streams",
        "llama.cpp: lists the conversations of all clients",
    ),
    (
        "/v1/loads",
        "SGLang: how busy the server's parts are; for its operator",
    ),
    (
        "/inference/v1/*",
        "vLLM: generates from tokens, below the chat template, between servers that share one model",
    ),
    (
        "/cohere/*",
        "vLLM: Cohere's chat, which would pass unjudged",
    ),
];

/// Routes without a version that pass, with the reason. What generates text for a chat is not among them, because it would
/// pass unjudged: vLLM's `/invocations`, SGLang's `/generate`, llama.cpp's `/completion`. Nor is what changes the server, such
/// as `/sleep` or `/collective_rpc`, or tells of it, such as `/server_info`.
pub const UNVERSIONED: [(&str, &str); 11] = [
    ("/tokenize", "all three: the tokens of a prompt"),
    ("/detokenize", "all three: the text of tokens"),
    (
        "/apply-template",
        "llama.cpp: a chat as the prompt that the model would read",
    ),
    (
        "/rerank",
        "vLLM, llama.cpp: documents in order of relevance",
    ),
    ("/reranking", "llama.cpp: another name of /rerank"),
    ("/score", "vLLM: how alike two texts are"),
    ("/generative_scoring", "vLLM: how likely given answers are"),
    ("/pooling", "vLLM: what a pooling model makes of a text"),
    ("/classify", "vLLM, SGLang: a classifier's labels"),
    ("/encode", "SGLang: embeddings"),
    (
        "/infill",
        "llama.cpp: code between two pieces of code; no chat, so there is nothing to judge",
    ),
];

/// Routes under `/v1` that are forwarded unjudged and have a metric label of their own. The others share `/v1/*`.
pub const LABELLED: [&str; 6] = [
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
];

/// True for a normalised path that never passes.
pub fn is_denied(path: &str) -> bool {
    DENIED
        .iter()
        .any(|(denied, _)| match denied.strip_suffix('*') {
            Some(folder) => path.starts_with(folder),
            None => path == *denied,
        })
}

/// The entry of [`UNVERSIONED`] that a normalised path names.
pub fn unversioned(path: &str) -> Option<&'static str> {
    let mut routes = UNVERSIONED.iter().map(|(route, _)| *route);
    routes.find(|route| *route == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_written_as_it_is_matched_and_has_a_reason() {
        for (path, reason) in DENIED.iter().chain(&UNVERSIONED) {
            assert_eq!(*path, path.to_lowercase());
            assert!(path.starts_with('/') && !path.ends_with('/'), "{path}");
            assert!(!reason.is_empty(), "{path}");
        }
        assert!(UNVERSIONED.iter().all(|(path, _)| !path.contains("/v1")));
        assert!(is_denied("/v1/stream/abc") && !is_denied("/v1/streaming"));
    }
}
