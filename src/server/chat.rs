//! Chat requests: decide, forward, stream.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, request::Parts};

use super::{body, coalesce::gathered, entered::Entered};
use crate::{
    api::CHAT,
    error::Error,
    pipeline,
    routing::{Decision, Routed},
    state::AppState,
    upstream::{Endpoint, Forward, Model},
};

/// `POST /v1/chat/completions`.
pub async fn handle(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (mut entered, body) = match Entered::enter(&state, &parts, body, CHAT) {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    match decide(&state, &mut entered, &parts, body).await {
        Ok((model, routed)) => forward(&state, entered, &parts, &model, routed).await,
        Err((error, rest)) => entered.refuse(&error, rest),
    }
}

/// Reads the request and decides.
///
/// # Errors
/// Why there is nothing to forward, with what of the body was not read.
pub async fn decide(
    state: &AppState,
    entered: &mut Entered,
    parts: &Parts,
    body: Body,
) -> Result<(Arc<Model>, Routed), (Error, Option<Body>)> {
    let wish = match pipeline::wish(&parts.headers) {
        Ok(wish) => wish,
        Err(error) => return Err((error, Some(body))),
    };
    let bytes = body::read(&parts.headers, body, &state.config.server)
        .await
        .map_err(|(error, rest)| (error, Some(rest)))?;
    let all_read = |error| (error, None);
    let judged = pipeline::judge(state, bytes, wish, entered.inner())
        .await
        .map_err(all_read)?;
    let routed = judged.routed;
    match judged.model {
        Some(model) => Ok((model, routed)),
        None => Err(all_read(Error::NoEndpoint(format!(
            "model `{}`",
            routed.model
        )))),
    }
}

async fn forward(
    state: &AppState,
    entered: Entered,
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
    let (place, record) = entered.into_parts();
    match forward.send(&state.client, model, record).await {
        Ok(mut response) => {
            let endpoint = response.body().endpoint().clone();
            let relay = response.body_mut();
            routed.reconcile(endpoint.family, relay.switch_rejected());
            let Decision { mode, why, .. } = &routed.decision;
            relay.record().set_mode(mode.as_str(), why.as_str());
            relay.hold(place);
            response.headers_mut().extend(pipeline::told(
                &routed.decision,
                endpoint.model_header.clone(),
            ));
            gathered(response)
        }
        Err((error, record)) => {
            let mut response = Entered::failed(record, &error, None);
            let upstream = HeaderValue::try_from(&*routed.model).ok();
            response
                .headers_mut()
                .extend(pipeline::told(&routed.decision, upstream));
            response
        }
    }
}
