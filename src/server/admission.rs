//! Requests of this door: admitted, rejected and answered in one way.

use std::sync::Arc;

use axum::{body::Body, extract::Request, response::Response};
use http::{Extensions, Method, Uri, request::Parts};

use super::error_response::{answer, answer_early};
use crate::{
    auth::Caller,
    error::Error,
    net::PeerAddress,
    pipeline::{self, AdmittedRequest, RequestId, RequestInfo},
    state::AppState,
    telemetry::{Outcome, Record, RequestLine},
};

/// Admits a request that the middleware let pass. `route` is its label.
///
/// # Errors
/// The answer, when too many requests are being served, or the key's rate is used up.
pub async fn admit(
    state: &AppState,
    parts: &Parts,
    body: Body,
    route: &'static str,
) -> Result<(AdmittedRequest, Body), Response> {
    let info = request_info(&parts.extensions, &parts.method, &parts.uri, route);
    match AdmittedRequest::admit(state, info, &parts.headers, true).await {
        Ok(admitted) => Ok((admitted, body)),
        Err(error) => Err(answer_early(&error, body)),
    }
}

/// Rejects a request before it is admitted, and records that.
pub fn reject(state: &AppState, request: Request, error: &Error) -> Response {
    let (parts, body) = request.into_parts();
    let info = request_info(&parts.extensions, &parts.method, &parts.uri, "-");
    pipeline::reject(state, info, error);
    answer_early(error, body)
}

/// Answers an admitted request with an error. `rest` is what was not read of its body.
pub fn fail(mut record: Box<Record>, error: &Error, rest: Option<Body>) -> Response {
    record.fail(error);
    match rest {
        Some(rest) => answer_early(error, rest),
        None => answer(error),
    }
}

/// Answers an admitted request with a response that was made here.
pub fn complete(mut record: Box<Record>, response: Response) -> Response {
    record.status = response.status().as_u16();
    record.outcome = Outcome::Complete;
    response
}

/// What the middleware found out about a request.
pub fn request_info(
    extensions: &Extensions,
    method: &Method,
    uri: &Uri,
    route: &'static str,
) -> RequestInfo {
    let id = extensions.get::<RequestId>().cloned();
    RequestInfo {
        route,
        line: RequestLine::of(method, uri),
        id: id.unwrap_or_else(|| RequestId::of(&http::HeaderMap::new())), // the middleware sets one on every request
        caller: Guarded::caller(extensions).cloned(),
        peer: extensions.get::<PeerAddress>().map(|peer| peer.0),
    }
}

/// What the guard noted on a request.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// The owner of the key that it came with; `None` where no keys are configured.
    pub caller: Option<Arc<Caller>>,
    /// The label of the route that its path names; `-` when it may not pass.
    pub route: &'static str,
}

impl Guarded {
    /// The owner of the request's key.
    pub fn caller(extensions: &Extensions) -> Option<&Arc<Caller>> {
        extensions.get::<Self>()?.caller.as_ref()
    }

    /// The label of the request's route.
    pub fn route(extensions: &Extensions) -> &'static str {
        extensions
            .get::<Self>()
            .map_or("-", |guarded| guarded.route)
    }
}
