//! The decision in headers: what a client may wish, and what it is told.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    error::Error,
    routing::{Decision, Mode, Routed},
    telemetry::Decided,
};

const MODE: HeaderName = HeaderName::from_static("x-thinkgate-mode");
const WHY: HeaderName = HeaderName::from_static("x-thinkgate-why");
const SCORE: HeaderName = HeaderName::from_static("x-thinkgate-score");
const DOMAIN: HeaderName = HeaderName::from_static("x-thinkgate-domain");
const MODEL: HeaderName = HeaderName::from_static("x-thinkgate-model");

/// What the client asks for in `x-thinkgate-mode`; `auto` is the same as nothing.
///
/// # Errors
/// A 400 for any other word, or more than one.
pub fn wish(headers: &HeaderMap) -> Result<Option<Mode>, Error> {
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

/// Tells the client what was decided. `upstream`: the model's name at the endpoint that answered.
pub fn tell(headers: &mut HeaderMap, decision: &Decision, upstream: &str) {
    headers.insert(MODE, HeaderValue::from_static(decision.mode.as_str()));
    headers.insert(WHY, HeaderValue::from_static(decision.why.as_str()));
    let mut tell = |name, value: Option<String>| {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    };
    tell(SCORE, decision.score.map(|score| format!("{score:.3}")));
    tell(DOMAIN, decision.domain.as_deref().map(str::to_owned));
    tell(MODEL, Some(upstream.to_owned()));
}

/// The decision as it is recorded.
pub fn decided(routed: &Routed, seconds: f64) -> Decided {
    let decision = &routed.decision;
    Decided {
        mode: decision.mode.as_str(),
        why: decision.why.as_str(),
        score: decision.score,
        domain: decision.domain.clone(),
        miss: decision.miss.map(|miss| miss.as_str()),
        seconds,
    }
}
