//! One reading of a path, the same at both doors: what it names, whether it may pass, and what it is called in metrics.
//!
//! A server behind us may read a path in another way than we do: decode `%`, take `\` for `/`, merge slashes, resolve dots, fold
//! case, leave a slash or a parameter out. So a path is matched as the most generous server would read it. Where that names a
//! route with rules of its own and the path is written in another way, it is refused with a hint, and never forwarded.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::path_lists::{BATCH, JUDGED, LABELLED, MODELS, UNVERSIONED, is_denied, unversioned};
use crate::{api::url_as_written, error::Error};

/// How often a path is decoded for matching. No chain of servers is known that decodes one more often.
const MAX_DECODINGS: usize = 4;

/// The most of a path that an error repeats, in characters.
const MAX_SHOWN: usize = 200;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// A route that is decided before it is forwarded.
    Judged(&'static str),
    /// The list of models, or the entry of the one with this id.
    Models(Option<Cow<'a, str>>),
    /// A route that is forwarded unjudged, under this label.
    Forwarded(&'static str),
    /// A route that no list names: it is not a model server's, or not for clients.
    Unlisted,
}

impl<'a> Route<'a> {
    /// What a path names. `path` is as it was sent, without the query.
    ///
    /// # Errors
    /// A 404 for a denied route in any spelling, for a path that leaves `/v1/`, and, with a hint, for another spelling of a known
    /// route. A 501 for a batch. A 400 for a path that cannot be sent as it is written.
    pub fn of(path: &'a str) -> Result<Self, Error> {
        if let Some(judged) = JUDGED.into_iter().find(|judged| *judged == path) {
            return Ok(Self::Judged(judged));
        }
        let normal = normalized(path);
        if is_denied(&normal) {
            return Err(not_found(path, ""));
        }
        if normal == BATCH {
            return Err(Error::Unsupported(
                "A batch is not supported: its conversations cannot be judged one by one. Send each to /v1/chat/completions.",
            ));
        }
        match path.strip_prefix(MODELS) {
            Some("") => return Ok(Self::Models(None)),
            Some(rest) if !has_dot_segment(path) => {
                if let Some(id) = rest.strip_prefix('/').filter(|id| !id.is_empty()) {
                    return Ok(Self::Models(Some(percent_decoded(id))));
                }
            }
            _ => {}
        }
        let is_model = normal
            .strip_prefix(MODELS)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match unversioned(&normal) {
            Some(route) if route == path => return Ok(Self::Forwarded(route)),
            None if !is_model && !JUDGED.contains(&&*normal) => {}
            _ => return Err(misspelt(path, &normal)),
        }
        match (path.starts_with("/v1/"), normal.starts_with("/v1/")) {
            (true, true) => Self::under_v1(path, &normal),
            (true, false) => Err(not_found(path, "")),
            (false, true) => Err(misspelt(path, &normal)),
            (false, false) => Ok(Self::Unlisted),
        }
    }

    /// A path under `/v1` without rules of its own.
    fn under_v1(path: &str, normal: &str) -> Result<Self, Error> {
        // A server behind a proxy that takes the first away would get the second.
        if normal.rmatch_indices("/v1/").any(|(at, _)| at > 0) {
            return Err(not_found(path, " `/v1` is there twice"));
        }
        let label = LABELLED.into_iter().find(|label| *label == normal);
        if label.is_some_and(|label| percent_decoded(path) != label) {
            return Err(misspelt(path, normal));
        }
        if percent_decoded(path).contains(char::is_control) {
            return Err(Error::invalid("The path has a control character."));
        }
        if has_dot_segment(path) || !is_sent_as_written(path) {
            return Err(Error::invalid(
                "The path has a dot segment or a backslash, which would be sent as another path.",
            ));
        }
        Ok(Self::Forwarded(label.unwrap_or("/v1/*")))
    }

    /// What a path names that may have a prefix before `/v1/`, which Envoy's route takes away. The prefix changes nothing: what
    /// follows it has the same rules as without it.
    ///
    /// # Errors
    /// As [`Route::of`]; and a 404 where `/v1/` is written in another way behind a prefix, or is there twice, because then it is
    /// not clear what the server will get.
    pub fn behind_prefix(path: &'a str) -> Result<Self, Error> {
        if JUDGED.contains(&path) {
            return Self::of(path);
        }
        let normal = normalized(path);
        if is_denied(&normal) {
            return Err(not_found(path, ""));
        }
        match path.find("/v1/") {
            // Slashes alone are no prefix.
            Some(at) if path.bytes().take(at).all(|byte| byte == b'/') => Self::of(path),
            Some(_) if has_dot_segment(path) => Err(not_found(path, "")),
            Some(at) if normal.matches("/v1/").count() == 1 => {
                Self::of(path.get(at..).unwrap_or_default())
            }
            None if normal.starts_with("/v1/") || !normal.contains("/v1/") => Self::of(path),
            _ => Err(not_found(path, "")),
        }
    }

    /// What the route is called in metrics: one of a closed set, never a client's text.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Judged(label) | Self::Forwarded(label) => label,
            Self::Models(_) => "/v1/*",
            Self::Unlisted => "-",
        }
    }
}

/// The path as the most generous server would read it: decoded, in lower case, `\` as `/`, dots resolved, without empty
/// segments, parameters and blanks at the ends of segments.
fn normalized(path: &str) -> String {
    let mut decoded = Cow::Borrowed(path);
    for _ in 0..MAX_DECODINGS {
        if !decoded.contains('%') {
            break;
        }
        decoded = Cow::Owned(percent_decoded(&decoded).into_owned());
    }
    let end = decoded.find(['?', '#']).unwrap_or(decoded.len());
    let mut segments = Vec::new();
    for segment in decoded.get(..end).unwrap_or_default().split(['/', '\\']) {
        let parameters = segment.find(';').unwrap_or(segment.len());
        let segment = segment.get(..parameters).unwrap_or_default();
        match segment.trim_matches(|c: char| c.is_whitespace() || c.is_control()) {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut normal = String::with_capacity(end + 1);
    for segment in segments {
        normal.push('/');
        normal.push_str(segment);
    }
    normal.make_ascii_lowercase();
    normal
}

/// A path with its percent-encoded characters decoded once, as a server reads it.
fn percent_decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// True for a path with a `.` or `..` segment, raw or encoded.
fn has_dot_segment(path: &str) -> bool {
    let is_dot = |segment: &str| matches!(segment, "." | "..");
    path.contains(['.', '%']) && percent_decoded(path).split(['/', '\\']).any(is_dot)
}

/// True for a path that is sent as it is written.
fn is_sent_as_written(path: &str) -> bool {
    if !path.contains(['\\', '#']) {
        return true; // dots apart, a `Url` changes nothing else of what a request line can hold
    }
    url_as_written(&format!("http://server{path}")).is_some()
}

/// The 404 for a known route in another spelling. It is refused rather than served as that route: how the servers behind us read
/// such a path is not known here.
fn misspelt(path: &str, route: &str) -> Error {
    let hint = match path.strip_suffix('/') {
        Some(rest) if rest == route => format!(" Leave out the slash at the end: {route}"),
        _ => format!(" Write it as {}", shortened(route)),
    };
    not_found(path, &hint)
}

/// The 404 for a path, with what there is. `hint` is a sentence without its full stop, or empty.
fn not_found(path: &str, hint: &str) -> Error {
    let path = shortened(path);
    let stop = if hint.is_empty() { "" } else { "." };
    let unversioned = UNVERSIONED.map(|(route, _)| route).join(", ");
    Error::RouteNotFound(format!(
        "There is nothing at {path}.{hint}{stop} Here are: /v1/chat/completions, /v1/models, other routes under /v1, {unversioned}."
    ))
}

/// The 404 for a path that no list names.
pub fn unlisted(path: &str) -> Error {
    let hint = match path {
        "/chat/completions" | "/completions" | "/models" | "/embeddings" | "/responses"
        | "/messages" => format!(" The base URL is missing `/v1`: use /v1{path}"),
        _ => String::new(),
    };
    not_found(path, &hint)
}

fn shortened(path: &str) -> Cow<'_, str> {
    match path.char_indices().nth(MAX_SHOWN) {
        None => path.into(),
        Some((at, _)) => format!("{}..", path.get(..at).unwrap_or_default()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The route, or the status of the refusal.
    fn outcome(found: Result<Route<'_>, Error>) -> Result<Route<'_>, u16> {
        found.map_err(|error| error.status().as_u16())
    }

    #[test]
    fn a_route_with_rules_is_found_as_it_is_written_and_refused_in_any_other_spelling() {
        let chat = "/v1/chat/completions";
        assert_eq!(Route::of(chat), Ok(Route::Judged(chat)));
        assert_eq!(Route::of(MODELS), Ok(Route::Models(None)));
        for path in [
            "//v1/chat/completions",
            "/v1//chat/completions",
            "/v1/chat//completions",
            "/v1/chat/completions/",
            "/v1/chat/completions//",
            "/v1/chat%2fcompletions",
            "/v1/chat%252fcompletions",
            "/v1/chat\\completions",
            "/v1%5cchat/completions",
            "/V1/Chat/Completions",
            "/%56%31/chat/completions",
            "/v1/x/../chat/completions",
            "/v1/./chat/completions",
            "/v1/chat/completions%0a",
            "/v1/chat/completions%20",
            "/v1/chat/completions;a=b",
            "/v1/chat/completions%3Fa",
            "/v1/../v1/chat/completions",
        ] {
            let error = Route::of(path).unwrap_err();
            assert_eq!(error.status(), 404, "{path}");
            assert!(error.to_string().contains(chat), "{path}: {error}");
        }
        for path in [
            "/v1/models/",
            "/v1//models",
            "/v1/%6Dodels",
            "/V1/models/a",
            "/v1/models%2Fa",
        ] {
            let error = Route::of(path).unwrap_err();
            assert!(error.to_string().contains("/v1/models"), "{path}: {error}");
        }
    }

    #[test]
    fn a_denied_route_is_found_in_no_spelling_and_a_batch_is_not_supported() {
        for path in [
            "/v1/load_lora_adapter",
            "/v1//load_lora_adapter",
            "/v1/load_lora_adapter/",
            "/v1/load%5Flora_adapter",
            "/v1/load%255Flora_adapter",
            "/v1/LOAD_lora_adapter",
            "/v1\\load_lora_adapter",
            "/v1/models/../load_lora_adapter",
            "/v1/models/%2e%2e/load_lora_adapter",
            "/v1/load_lora_adapter%0A",
            "/v1/stream/other",
            "/inference/v1/generate",
        ] {
            assert_eq!(outcome(Route::of(path)), Err(404), "{path}");
            assert_eq!(outcome(Route::behind_prefix(path)), Err(404), "{path}");
        }
        for path in [
            BATCH,
            "/v1/chat/completions//batch",
            "/v1/chat/completions/BATCH",
        ] {
            assert_eq!(outcome(Route::of(path)), Err(501), "{path}");
        }
    }

    #[test]
    fn an_id_may_have_slashes_anywhere_and_no_dot_segments() {
        for (path, id) in [
            ("/v1/models/a", "a"),
            ("/v1/models/Org/Name", "Org/Name"),
            ("/v1/models/Org%2FName", "Org/Name"),
            ("/v1/models//srv/weights/", "/srv/weights/"),
            ("/v1/models/%2Fsrv%2Fweights%2F", "/srv/weights/"),
        ] {
            assert_eq!(
                Route::of(path),
                Ok(Route::Models(Some(id.into()))),
                "{path}"
            );
        }
        assert_eq!(outcome(Route::of("/v1/models/../files")), Err(400));
    }

    #[test]
    fn other_paths_pass_under_v1_unless_they_would_be_sent_as_others() {
        for (path, expected) in [
            ("/v1/completions", Ok(Route::Forwarded("/v1/completions"))),
            ("/v1/%63ompletions", Ok(Route::Forwarded("/v1/completions"))),
            ("/v1/files/a%2Fb%20c", Ok(Route::Forwarded("/v1/*"))),
            ("/v1/files/it's", Ok(Route::Forwarded("/v1/*"))),
            ("/v1/files//a..b", Ok(Route::Forwarded("/v1/*"))),
            ("/tokenize", Ok(Route::Forwarded("/tokenize"))),
            ("/metrics", Ok(Route::Unlisted)),
            ("/sleep", Ok(Route::Unlisted)),
            ("/", Ok(Route::Unlisted)),
            ("/v1/completions/", Err(404)),
            ("/v1//completions", Err(404)),
            ("/V1/files", Err(404)),
            ("/v1/", Err(404)),
            ("/v1/../metrics", Err(404)),
            ("/v1/%2e%2e/x", Err(404)),
            ("/%74okenize", Err(404)),
            ("/tokenize/", Err(404)),
            ("/v1/v1/chat/completions", Err(404)),
            ("/v1/x/v1/chat/completions", Err(404)),
            ("/v1/./files", Err(400)),
            ("/v1/files\\a", Err(400)),
            ("/v1/files%0Aa", Err(400)),
        ] {
            assert_eq!(outcome(Route::of(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_prefix_before_v1_changes_nothing_and_hides_nothing() {
        let chat = "/v1/chat/completions";
        for (path, expected) in [
            ("/pre/v1/chat/completions", Ok(Route::Judged(chat))),
            (
                "/a/b/v1/completions",
                Ok(Route::Forwarded("/v1/completions")),
            ),
            ("/pre/v1/models", Ok(Route::Models(None))),
            (
                "/v1/models/org/v1/x",
                Ok(Route::Models(Some("org/v1/x".into()))),
            ),
            ("/pre/v1/load_lora_adapter", Err(404)),
            ("/pre/v1//chat/completions", Err(404)),
            ("/pre/V1/chat/completions", Err(404)),
            ("/pre/v1%2Fchat%2Fcompletions", Err(404)),
            ("/pre/../v1/chat/completions", Err(404)),
            ("/v1/x/v1/chat/completions", Err(404)),
            ("/v1/v1/chat/completions", Err(404)),
            ("/pre/v1/x/V1/chat/completions", Err(404)),
            ("/pre/tokenize", Ok(Route::Unlisted)),
            ("/invocations", Ok(Route::Unlisted)),
            ("/v2/rerank", Ok(Route::Unlisted)),
        ] {
            assert_eq!(outcome(Route::behind_prefix(path)), expected, "{path}");
        }
    }
}
