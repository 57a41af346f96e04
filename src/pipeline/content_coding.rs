//! Refuses a body in a coding (`content-encoding`): we cannot read it, and a server would read what we did not.

use http::{HeaderMap, header};

use crate::error::Error;

/// A coding of the client's that a message shows is cut to this length, in bytes.
const MAX_SHOWN_BYTES: usize = 40;

/// Checks that the body of a request is in no coding; `identity` is none.
///
/// # Errors
/// A 415 that names the coding.
pub fn check_content_coding(headers: &HeaderMap) -> Result<(), Error> {
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let codings = value.to_str().unwrap_or("?").split(',').map(str::trim);
        let mut unknown =
            codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        if let Some(coding) = unknown.next() {
            let shown = coding.get(..MAX_SHOWN_BYTES).unwrap_or(coding);
            return Err(Error::UnsupportedCoding(shown.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coding_is_named_and_identity_passes() {
        for (values, coding) in [
            (&[][..], None),
            (&["identity"], None),
            (&["Identity, ", "identity"], None),
            (&["gzip"], Some("gzip")),
            (&["identity, br"], Some("br")),
            (&["identity", "zstd"], Some("zstd")),
            (&["x-gzip;q=1"], Some("x-gzip;q=1")),
            (&["\u{e9}"], Some("?")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(header::CONTENT_ENCODING, value);
            }
            let wanted = coding.map(|coding: &str| Error::UnsupportedCoding(coding.to_owned()));
            assert_eq!(check_content_coding(&headers).err(), wanted, "{values:?}");
        }
    }
}
