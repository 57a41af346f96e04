//! `x-thinkgate-mode` of a request: the mode that the client asks for.

use http::{HeaderMap, HeaderName};

use crate::{error::Error, routing::Mode};

/// The header's name, on requests and on answers.
pub const MODE: HeaderName = HeaderName::from_static("x-thinkgate-mode");

/// The mode that the client asks for. `auto` is the same as no header.
///
/// # Errors
/// A 400 for any other word, and for a repeated header.
pub fn requested_mode(headers: &HeaderMap) -> Result<Option<Mode>, Error> {
    let mut values = headers.get_all(MODE).iter();
    let wrong = || {
        Error::invalid_field(
            "x-thinkgate-mode",
            "x-thinkgate-mode must be one of auto, reasoning, direct, unchanged.",
        )
    };
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(wrong());
    }
    match value.to_str().unwrap_or_default() {
        "auto" => Ok(None),
        "reasoning" => Ok(Some(Mode::Reasoning)),
        "direct" => Ok(Some(Mode::Direct)),
        "unchanged" => Ok(Some(Mode::Unchanged)),
        _ => Err(wrong()),
    }
}
