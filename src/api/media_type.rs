//! Reads media types and their parameters (`content-type`, RFC 9110, 8.3).

use std::collections::BTreeMap;

use http::{HeaderMap, header};
use mailparse::parse_content_type;

use crate::error::Error;

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
/// # Errors
/// A 400 where readers may disagree about the boundary, or about the characters of the fields: the boundary is missing, empty,
/// written twice or escaped; there are more than 64 parameters; `charset` is not UTF-8.
pub fn form_boundary(content_type: &str) -> Result<Option<String>, Error> {
    let mut segments = content_type.split(';');
    let media_type = segments.next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    let is_boundary = |segment: &str| {
        let name = segment.trim_start().get(.."boundary".len());
        name.is_some_and(|name| name.eq_ignore_ascii_case("boundary"))
    };
    let is_ambiguous = segments.filter(|segment| is_boundary(segment)).count() != 1
        || !content_type.is_ascii()
        || content_type.contains('\\')
        || has_too_many_parameters(content_type);
    let mut params = match is_ambiguous {
        true => BTreeMap::new(),
        false => parse_content_type(content_type).params,
    };
    let boundary = params
        .remove("boundary")
        .filter(|boundary| !boundary.is_empty());
    let is_utf8 = |charset: &String| {
        ["utf-8", "utf8"]
            .iter()
            .any(|name| charset.eq_ignore_ascii_case(name))
    };
    let is_clear = params.get("charset").is_none_or(is_utf8)
        && !has_extended(&params, "boundary")
        && !has_extended(&params, "charset");
    match boundary.filter(|_| is_clear) {
        Some(boundary) => Ok(Some(boundary)),
        None => Err(Error::invalid(
            "The content-type of the form has no boundary, more than one, or one that servers may read in different ways.",
        )),
    }
}

/// The `content-type` of a request.
///
/// # Errors
/// A 400 when there are two, or one that is not ASCII: a server may read another one than we do.
pub fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let unclear =
        || Error::invalid("The content-type of the request is written twice or not in ASCII.");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| unclear()),
        (Some(_), Some(_)) => Err(unclear()),
    }
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
            ("multipart/form-data; boundary*=utf-8''x", Some("x")),
            ("multipart/form-data; charset=UTF-8; boundary=x", Some("x")),
            ("multipart/mixed; boundary=x; boundary=y", None),
            ("application/json; boundary=x", None),
        ] {
            let found = form_boundary(value).unwrap();
            assert_eq!(found.as_deref(), boundary, "{value}");
        }
        for value in [
            "multipart/form-data; boundary=x; boundary=y",
            "multipart/form-data; boundary=x; Boundary=x",
            "multipart/form-data; boundary=x; boundary*=utf-8''y",
            "multipart/form-data; boundary*0=x; boundary*2=y",
            "multipart/form-data; boundary=\"a\\b\"",
            "multipart/form-data; boundary=x; charset=utf-7",
            "multipart/form-data; boundary=x; charset*=utf-8''cp500",
            "multipart/form-data; boundary=x; a=\u{e9}",
            "multipart/form-data; boundary=",
            "multipart/form-data",
            "Multipart/Form-Data ;",
        ] {
            assert!(form_boundary(value).is_err(), "{value}");
        }
        let many = format!("multipart/form-data{}; boundary=x", "; a".repeat(64));
        assert!(form_boundary(&many).is_err());
    }

    #[test]
    fn a_content_type_that_stands_twice_is_refused() {
        let headers = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_bytes(value).unwrap();
                headers.append(header::CONTENT_TYPE, value);
            }
            headers
        };
        assert_eq!(content_type(&headers(&[])), Ok(None));
        assert_eq!(content_type(&headers(&[b"a/b"])), Ok(Some("a/b")));
        assert!(content_type(&headers(&[b"a/b", b"a/b"])).is_err());
        assert!(content_type(&headers(&[b"a/b; c=\xe9"])).is_err());
    }
}
