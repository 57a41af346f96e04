//! The decision in headers: what a client may wish, and what it is told.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    classifier::FallbackReason,
    error::Error,
    routing::{Decision, Mode, Routed},
    telemetry::DecisionRecord,
};

/// The wish in a request, and the decision in an answer.
pub const MODE: HeaderName = HeaderName::from_static("x-thinkgate-mode");
const WHY: HeaderName = HeaderName::from_static("x-thinkgate-why");
const SCORE: HeaderName = HeaderName::from_static("x-thinkgate-score");
const DOMAIN: HeaderName = HeaderName::from_static("x-thinkgate-domain");
/// The model's name at the endpoint that answers.
pub const MODEL: HeaderName = HeaderName::from_static("x-thinkgate-model");

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

/// What the client is told of a decision. `upstream`: the model's name at the endpoint that answers, unless it is no header value.
pub fn told(
    decision: &Decision,
    upstream: Option<HeaderValue>,
) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let value = |text: String| HeaderValue::try_from(text).ok();
    let score = decision
        .score
        .and_then(|score| value(format!("{score:.3}")));
    let domain = decision
        .domain
        .as_deref()
        .and_then(|domain| value(domain.to_owned()));
    [
        (MODE, Some(HeaderValue::from_static(decision.mode.as_str()))),
        (WHY, Some(HeaderValue::from_static(decision.why.as_str()))),
        (SCORE, score),
        (DOMAIN, domain),
        (MODEL, upstream),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// The decision as it is recorded.
pub(super) fn decision_record(routed: &Routed, seconds: f64) -> DecisionRecord {
    let decision = &routed.decision;
    DecisionRecord {
        mode: decision.mode.as_str(),
        why: decision.why.as_str(),
        score: decision.score,
        domain: decision.domain.clone(),
        fallback_reason: decision.fallback_reason.map(FallbackReason::as_str),
        seconds,
    }
}
