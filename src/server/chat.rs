//! Chat requests: decide, forward, stream.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, request::Parts};

use super::{
    admission::{admit, fail},
    body,
    flush::flush_before_failure,
};
use crate::{
    api::CHAT,
    error::Error,
    pipeline::{self, AdmittedRequest, decision_headers},
    routing::{Decision, Mode, Routed},
    state::AppState,
    upstream::{Endpoint, Forward, Model},
};

/// `POST /v1/chat/completions`.
pub async fn handle(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (mut admitted, body) = match admit(&state, &parts, body, CHAT).await {
        Ok(admitted) => admitted,
        Err(rejection) => return rejection,
    };
    match decide(&state, &mut admitted, &parts, body).await {
        Ok((model, routed)) => forward(&state, admitted, &parts, &model, routed).await,
        Err((error, rest)) => fail(admitted.record, &error, rest),
    }
}

/// Reads the request and decides.
///
/// # Errors
/// Why there is nothing to forward, with what was not read of the body.
pub async fn decide(
    state: &Arc<AppState>,
    admitted: &mut AdmittedRequest,
    parts: &Parts,
    body: Body,
) -> Result<(Arc<Model>, Routed), (Error, Option<Body>)> {
    let checked = pipeline::check_content_coding(&parts.headers);
    let requested_mode = match checked.and_then(|()| pipeline::requested_mode(&parts.headers)) {
        Ok(mode) => mode,
        Err(error) => return Err((error, Some(body))),
    };
    let bytes = body::receive(state, admitted, &parts.headers, body).await?;
    let decided = pipeline::decide(state, bytes, requested_mode, admitted)
        .await
        .map_err(|error| (error, None))?;
    let routed = decided.routed;
    match decided.model {
        Some(model) => Ok((model, routed)),
        None => {
            let error = Error::NoEndpoint(format!("model `{}`", routed.model));
            Err((error, None))
        }
    }
}

async fn forward(
    state: &AppState,
    admitted: AdmittedRequest,
    parts: &Parts,
    model: &Model,
    mut routed: Routed,
) -> Response {
    let forward = Forward {
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: &parts.headers,
        pass_credentials: state.keys.allow_anonymous(),
        inspect_response: true,
        is_streaming: routed.request.streams(),
        render: |endpoint: &Endpoint, switched| {
            let family = endpoint.family.filter(|_| switched);
            routed.render(family, endpoint.model.as_deref())
        },
    };
    let AdmittedRequest {
        permit,
        mut held,
        record,
        ..
    } = admitted;
    if routed.decision.mode != Mode::Unchanged
        && let Some(held) = &mut held
    {
        held.count_copy();
    }
    match forward.send(&state.client, model, record).await {
        Ok(mut response) => {
            let endpoint = response.body().endpoint().clone();
            let relay = response.body_mut();
            routed.reconcile(endpoint.family, relay.switch_rejected());
            let Decision { mode, why, .. } = &routed.decision;
            relay.record().set_mode(mode.as_str(), why.as_str());
            let headers = decision_headers(&routed.decision, endpoint.model_header.clone());
            response.headers_mut().extend(headers);
            flush_before_failure(response, permit)
        }
        Err((error, record)) => {
            let mut response = fail(record, &error, None);
            let upstream_model = HeaderValue::try_from(&*routed.model).ok();
            let headers = decision_headers(&routed.decision, upstream_model);
            response.headers_mut().extend(headers);
            response
        }
    }
    // `held` ends here, with the body: nothing is sent again once a server has answered.
}
