//! Which requests are judged, and what the others are called.

/// vLLM's unversioned inference routes. Its admin routes (`/sleep`, `/reset_prefix_cache`, ..) are not for clients.
pub const UNVERSIONED: [&str; 6] = [
    "/tokenize",
    "/detokenize",
    "/rerank",
    "/score",
    "/pooling",
    "/classify",
];

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
