//! The decision as response headers, and as it is recorded.

use http::{HeaderName, HeaderValue};

use super::MODE;
use crate::{
    classifier::FallbackReason,
    routing::{Decision, Routed},
    telemetry::DecisionRecord,
};

const WHY: HeaderName = HeaderName::from_static("x-thinkgate-why");
const SCORE: HeaderName = HeaderName::from_static("x-thinkgate-score");
const DOMAIN: HeaderName = HeaderName::from_static("x-thinkgate-domain");
/// The model's name at the endpoint that answers.
pub const MODEL: HeaderName = HeaderName::from_static("x-thinkgate-model");

/// The response headers that tell a client the decision. `upstream_model` is the model's name at the endpoint that answers;
/// `None` if that name cannot be a header value.
pub fn decision_headers(
    decision: &Decision,
    upstream_model: Option<HeaderValue>,
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
        (MODEL, upstream_model),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// The decision as it is recorded. `seconds` is how long it took.
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
