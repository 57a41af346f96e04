//! Prepares a request for forwarding: the same headers and body that the HTTP door sends.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use super::mutation::HeaderChange;
use crate::{
    api::BodyPieces,
    error::Error,
    pipeline::{self, AdmittedRequest, MODE, MODEL},
    routing::Mode,
    state::AppState,
    upstream::EnvoyModel,
};

/// The decision as headers of the response.
pub type DecisionHeaders = Vec<(HeaderName, HeaderValue)>;

/// A request as it is forwarded.
pub struct PreparedRequest {
    /// The changes to its headers.
    pub head: HeaderChange,
    /// Its body.
    pub body: Bytes,
    /// True when the body differs from the client's.
    pub is_changed: bool,
}

/// Decides for a chat request. `requested_mode`: the mode in the client's header.
///
/// # Errors
/// An invalid request, or a model that is not ours or not for its key.
pub async fn decide(
    state: &Arc<AppState>,
    body: Bytes,
    requested_mode: Option<Mode>,
    admitted: &mut AdmittedRequest,
) -> Result<(PreparedRequest, DecisionHeaders), Error> {
    let judged = pipeline::decide(state, body.clone(), requested_mode, admitted).await?;
    let routed = judged.routed;
    let envoy_model = EnvoyModel::of(judged.model.as_deref(), &routed.model);
    let upstream = envoy_model.name.as_deref().unwrap_or(&routed.model);
    let rendered = routed
        .render(envoy_model.family, envoy_model.name.as_deref())
        .body;
    let decision_headers: DecisionHeaders =
        pipeline::decision_headers(&routed.decision, HeaderValue::try_from(upstream).ok())
            .collect();
    let mut head = HeaderChange::default();
    let routing_headers = decision_headers
        .iter()
        .filter(|(name, _)| *name == MODE || *name == MODEL);
    head.set.extend(routing_headers.cloned());
    head.clear_route_cache = true;
    let prepared = prepared(head, envoy_model, rendered, body).await?;
    Ok((prepared, decision_headers))
}

/// Renames the model of an unjudged request to its name at the server. A request that names no model is forwarded unchanged,
/// unless its key is restricted to some models.
///
/// # Errors
/// The model that it names is not ours or not for its key.
pub async fn rename_model(
    state: &AppState,
    body: Bytes,
    content_type: Option<&str>,
    admitted: &mut AdmittedRequest,
) -> Result<PreparedRequest, Error> {
    admitted.record.bytes_in = body.len() as u64;
    let mut head = HeaderChange::default();
    let found = pipeline::find_model_field(content_type, &body, admitted).await?;
    let (name, model) = match pipeline::resolve_model(state, found.as_ref(), admitted) {
        Ok(found) => found,
        Err(_) if found.is_none() && !admitted.is_restricted() => {
            return prepared(head, EnvoyModel::default(), body.clone().into(), body).await;
        }
        Err(error) => return Err(error),
    };
    let envoy_model = EnvoyModel::of(model.as_deref(), &name);
    let upstream = envoy_model.name.as_deref().unwrap_or(&name);
    if let Ok(value) = HeaderValue::try_from(upstream) {
        head.set(MODEL, value);
        head.clear_route_cache = true;
    }
    let renamed = match found {
        Some(found) => found.rename(&body, upstream),
        None => body.clone().into(),
    };
    prepared(head, envoy_model, renamed, body).await
}

/// A request with the API key of its model's server.
///
/// # Errors
/// None that a client can cause.
async fn prepared(
    mut head: HeaderChange,
    envoy_model: EnvoyModel,
    body: BodyPieces,
    original: Bytes,
) -> Result<PreparedRequest, Error> {
    if let Some(key) = envoy_model.authorization {
        head.set(header::AUTHORIZATION, key);
    }
    let is_long = pipeline::is_long(original.len());
    let join = move || {
        let body = body.into_bytes();
        let is_same = body.as_ptr() == original.as_ptr() && body.len() == original.len();
        (!is_same && body != original, body)
    };
    let (is_changed, body) = match is_long {
        true => pipeline::run_long(async move { join() }).await?,
        false => join(),
    };
    Ok(PreparedRequest {
        head,
        body,
        is_changed,
    })
}
