//! The method, the path and the model of a request as the client wrote them, for the log line of a request that failed.
//!
//! A client's text goes to the log only here: bounded, and without characters that a terminal obeys.

use std::fmt::Write;

use http::{Method, Uri, uri::PathAndQuery};

/// The longest path or model name in a log line, in bytes. Paths of model servers have some 30, names of models at most 100.
const MAX_SHOWN_BYTES: usize = 256;

/// The method and the path of a request. Cheap to make of a parsed request: the path is shared with it.
#[derive(Debug, Clone, Default)]
pub struct RequestLine {
    method: Method,
    path: Option<Path>,
}

#[derive(Debug, Clone)]
enum Path {
    Parsed(PathAndQuery),
    Text(Box<str>),
}

impl RequestLine {
    /// The line of a request that the HTTP library parsed.
    pub fn of(method: &Method, uri: &Uri) -> Self {
        Self {
            method: method.clone(),
            path: uri.path_and_query().cloned().map(Path::Parsed),
        }
    }

    /// The line of a request that Envoy shows. A method that is none counts as `GET`, as Envoy sends valid ones only.
    pub fn from_text(method: &str, path: &str) -> Self {
        Self {
            method: method.parse().unwrap_or_default(),
            path: Some(Path::Text(shortened(path).into())),
        }
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The path without its query, which may hold a key; empty for a request without a path.
    pub fn path(&self) -> String {
        let path = match &self.path {
            Some(Path::Parsed(path)) => path.path(),
            Some(Path::Text(path)) => path,
            None => "",
        };
        printable(path.split(['?', '#']).next().unwrap_or_default())
    }
}

/// A client's text for the log: the first bytes of it, with control characters escaped.
pub fn printable(text: &str) -> String {
    let short = shortened(text);
    let mut shown = String::with_capacity(short.len() + 3);
    for character in short.chars() {
        // Also those that turn the direction of the text around them.
        let is_plain = !character.is_control()
            && !matches!(character, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match is_plain {
            true => shown.push(character),
            false => {
                let _ = write!(shown, "{}", character.escape_default()); // writing to memory does not fail
            }
        }
    }
    if short.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_SHOWN_BYTES))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_its_query() {
        let uri: Uri = "http://h/v1/nowhere?key=sk-1".parse().unwrap();
        let line = RequestLine::of(&Method::PUT, &uri);
        assert_eq!((line.method(), &*line.path()), ("PUT", "/v1/nowhere"));
        let line = RequestLine::from_text("POST", "/v1/x?key=sk-1");
        assert_eq!((line.method(), &*line.path()), ("POST", "/v1/x"));
        assert_eq!(RequestLine::default().path(), "");
    }

    #[test]
    fn a_clients_text_is_bounded_and_cannot_move_the_cursor() {
        assert_eq!(
            printable("a\u{1b}[2J\nb\u{202e}ü"),
            "a\\u{1b}[2J\\nb\\u{202e}ü"
        );
        let long = printable(&"ü".repeat(1000));
        assert_eq!(long.chars().count(), MAX_SHOWN_BYTES / 2 + 1);
        assert!(long.ends_with("ü…"));
    }
}
