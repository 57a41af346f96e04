//! Reads media types and their parameters (`content-type`, RFC 9110, 8.3).

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use mailparse::parse_content_type;

/// The most parameters that a header value may have: `mailparse` compares each one with all others.
pub(super) const MAX_PARAMETERS: usize = 64;

/// True when the `content-type` is `media_type`, with any parameters.
pub fn is_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|found| found.trim().eq_ignore_ascii_case(media_type))
}

/// The boundary of a `multipart/form-data` body; `None` for any other media type.
///
/// `None` also where readers may disagree about the boundary: it is empty, or also written as `boundary*` (RFC 2231), or
/// beside more than 64 other parameters. Of equal parameters the last counts, as in Python.
pub fn form_boundary(content_type: &str) -> Option<String> {
    if has_too_many_parameters(content_type) {
        return None;
    }
    let mut parsed = parse_content_type(content_type);
    let is_form = parsed.mimetype == "multipart/form-data";
    let boundary = parsed.params.remove("boundary")?;
    let is_clear = !boundary.is_empty() && !has_extended(&parsed.params, "boundary");
    (is_form && is_clear).then_some(boundary)
}

/// True when a header value has more parameters than are read.
pub(super) fn has_too_many_parameters(value: &str) -> bool {
    memchr::memchr_iter(b';', value.as_bytes()).count() > MAX_PARAMETERS
}

/// True when `name` is also written in the way of RFC 2231 (`name*`, `name*1`) and that was not joined into one value.
pub(super) fn has_extended(params: &BTreeMap<String, String>, name: &str) -> bool {
    params.keys().any(|key| {
        key.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_compared_without_its_parameters() {
        for (value, is_stream) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event-stream ;charset=utf-8", true),
            ("text/event-streams", false),
            ("text/event", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(
                is_media_type(&headers, "text/event-stream"),
                is_stream,
                "{value}"
            );
        }
        assert!(!is_media_type(&HeaderMap::new(), "text/event-stream"));
    }

    #[test]
    fn a_boundary_is_found_as_python_finds_it() {
        for (value, boundary) in [
            ("multipart/form-data; boundary=x", Some("x")),
            ("Multipart/Form-Data;Boundary=\"a b\"", Some("a b")),
            (
                "multipart/form-data; charset=utf-8; boundary = x ;",
                Some("x"),
            ),
            ("multipart/form-data; ;; boundary=x", Some("x")),
            ("multipart/form-data; boundary=\"a;b\"", Some("a;b")),
            ("multipart/form-data; boundary=x; boundary=y", Some("y")),
            ("multipart/form-data; boundary*=utf-8''x", Some("x")),
            ("multipart/form-data; boundary=x; boundary*=utf-8''y", None),
            ("multipart/form-data; boundary*0=x; boundary*2=y", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=x", None),
            ("application/json; boundary=x", None),
        ] {
            assert_eq!(form_boundary(value).as_deref(), boundary, "{value}");
        }
        let many = format!("multipart/form-data{}; boundary=x", "; a".repeat(64));
        assert_eq!(form_boundary(&many), None);
    }
}
