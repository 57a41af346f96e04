//! Where a server's `location` leads a client: to the same path at the gateway, never to the server's own address.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::error::Error;

/// The server whose answer is relayed, as its own redirects name it.
#[derive(Debug, Clone, Copy)]
pub struct OwnAddress<'a> {
    /// Its scheme and authority, such as `http://vllm:8000`, and the path that we put before every route.
    pub base: &'a str,
    /// True where the scheme does not matter, because a proxy before the server may end TLS.
    pub any_scheme: bool,
}

/// Makes the `location` of an answer relative to the gateway. One that leads elsewhere is removed from an answer that is no
/// redirect.
///
/// # Errors
/// A 502 for a redirect that leads elsewhere.
pub fn relocate(
    status: StatusCode,
    headers: &mut HeaderMap,
    own: OwnAddress<'_>,
) -> Result<(), Error> {
    let Some(location) = headers.get(header::LOCATION) else {
        return Ok(());
    };
    let relative = location
        .to_str()
        .ok()
        .and_then(|location| own.relative(location));
    match relative.and_then(|relative| HeaderValue::try_from(relative).ok()) {
        Some(relative) => drop(headers.insert(header::LOCATION, relative)),
        None if status.is_redirection() => return Err(Error::ForeignRedirect),
        None => drop(headers.remove(header::LOCATION)),
    }
    Ok(())
}

impl OwnAddress<'_> {
    /// The location without the server's address; `None` when it leads elsewhere.
    fn relative(self, location: &str) -> Option<String> {
        let base = Url::parse(self.base).ok()?;
        let location = location.replace('\t', ""); // as a browser reads it
        let location = location.trim();
        let is_slash = |byte: Option<&u8>| matches!(byte, Some(b'/' | b'\\'));
        let bytes = location.as_bytes();
        let has_authority = is_slash(bytes.first()) && is_slash(bytes.get(1));
        let target = match Url::parse(location) {
            Ok(absolute) => absolute,
            Err(url::ParseError::RelativeUrlWithoutBase) if has_authority => {
                base.join(location).ok()?
            }
            Err(url::ParseError::RelativeUrlWithoutBase) if is_slash(bytes.first()) => {
                return Some(without_prefix(location, base.path()).to_owned());
            }
            Err(url::ParseError::RelativeUrlWithoutBase) => return Some(location.to_owned()),
            Err(_) => return None,
        };
        let is_own = match self.any_scheme {
            true => target.host() == base.host() && target.port() == base.port(),
            false => target.origin() == base.origin(),
        };
        if !is_own || !matches!(target.scheme(), "http" | "https") {
            return None;
        }
        // Two slashes at the front would be another server's name.
        let path = without_prefix(target.path(), base.path()).trim_start_matches('/');
        let mut relative = format!("/{path}");
        for (mark, part) in [('?', target.query()), ('#', target.fragment())] {
            if let Some(part) = part {
                relative.push(mark);
                relative.push_str(part);
            }
        }
        Some(relative)
    }
}

/// A path without the prefix of the server's address, which the gateway's clients do not write.
fn without_prefix<'p>(path: &'p str, prefix: &str) -> &'p str {
    let rest = path.strip_prefix(prefix.trim_end_matches('/'));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relative(base: &str, location: &str) -> Option<String> {
        let own = OwnAddress {
            base,
            any_scheme: false,
        };
        own.relative(location)
    }

    #[test]
    fn a_location_at_the_server_becomes_the_same_path_at_the_gateway() {
        for (base, location, expected) in [
            (
                "http://vllm:8000",
                "http://vllm:8000/v1/completions",
                "/v1/completions",
            ),
            (
                "http://vllm:8000",
                "http://vllm:8000/v1/x?a=b#c",
                "/v1/x?a=b#c",
            ),
            ("http://vllm", "http://vllm:80/v1/x", "/v1/x"),
            ("http://vllm", "HTTP://VLLM/v1/x", "/v1/x"),
            ("http://vllm:8000", "//vllm:8000/v1/x", "/v1/x"),
            ("http://vllm:8000/up", "http://vllm:8000/up/v1/x", "/v1/x"),
            ("http://vllm:8000/up", "/up/v1/x", "/v1/x"),
            (
                "http://vllm:8000",
                "http://vllm:8000//elsewhere/x",
                "/elsewhere/x",
            ),
            ("http://vllm:8000", "/v1/x", "/v1/x"),
            ("http://vllm:8000", "x?y", "x?y"),
        ] {
            assert_eq!(
                relative(base, location).as_deref(),
                Some(expected),
                "{location}"
            );
        }
    }

    #[test]
    fn a_location_elsewhere_has_no_relative_form() {
        for location in [
            "http://vllm:8001/v1/x",
            "https://vllm:8000/v1/x",
            "http://10.0.0.1:8000/v1/x",
            "//elsewhere/x",
            "/\\elsewhere/x",
            "\\\\elsewhere/x",
            "/\t/elsewhere/x",
            "http:elsewhere",
            "javascript:alert(1)",
            "http://[",
        ] {
            assert_eq!(relative("http://vllm:8000", location), None, "{location}");
        }
    }

    #[test]
    fn only_a_redirect_fails_and_another_answer_loses_its_location() {
        let own = OwnAddress {
            base: "http://vllm",
            any_scheme: false,
        };
        let elsewhere = HeaderValue::from_static("http://inner/x");
        let mut headers = HeaderMap::from_iter([(header::LOCATION, elsewhere)]);
        let redirected = relocate(StatusCode::TEMPORARY_REDIRECT, &mut headers, own);
        assert_eq!(redirected, Err(Error::ForeignRedirect));
        assert_eq!(relocate(StatusCode::CREATED, &mut headers, own), Ok(()));
        assert!(headers.is_empty());
    }
}
