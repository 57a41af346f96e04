//! Requests that are not judged: forwarded as they come.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{header, request::Parts};

use super::{body, coalesce::gathered, entered::Entered};
use crate::{
    api::ModelField,
    error::Error,
    pipeline::{self, decoded, route_name},
    routing::Rendered,
    state::AppState,
    upstream::{Endpoint, Forward, Model},
};

/// Any other route of a model server.
pub async fn handle(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let route = route_name(&decoded(parts.uri.path()));
    let (mut entered, body) = match Entered::enter(&state, &parts, body, route) {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let bytes = match body::read(&parts.headers, body, &state.config.server).await {
        Ok(bytes) => bytes,
        Err((error, rest)) => return entered.refuse(&error, Some(rest)),
    };
    entered.record().bytes_in = bytes.len() as u64;
    let (model, named) = match model_for(&state, &parts, &bytes, entered.inner()) {
        Ok(found) => found,
        Err(error) => return entered.refuse(&error, None),
    };
    let forward = Forward {
        method: parts.method.clone(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        headers: &parts.headers,
        pass_credentials: state.keys.allow_anonymous(),
        inspect_response: false,
        is_streaming: false, // as far as we know
        render: |endpoint: &Endpoint, _switched| {
            let name = endpoint.model.as_deref().unwrap_or(&model.name);
            let body = named
                .as_ref()
                .map_or_else(|| bytes.clone(), |named| named.rename(&bytes, name));
            Rendered {
                body,
                fields: Vec::new(),
            }
        },
    };
    let (place, record) = entered.into_parts();
    match forward.send(&state.client, &model, record).await {
        Ok(mut response) => {
            response.body_mut().hold(place);
            gathered(response)
        }
        Err((error, record)) => Entered::failed(record, &error, None),
    }
}

/// The model a request is for, with its endpoints.
fn model_for(
    state: &AppState,
    parts: &Parts,
    body: &Bytes,
    entered: &mut pipeline::Entered,
) -> Result<(Arc<Model>, Option<ModelField>), Error> {
    let content_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let named = pipeline::named(content_type, body, entered)?;
    let (name, model) = pipeline::model_of(state, named.as_ref(), entered)?;
    let model = model.ok_or_else(|| Error::NoEndpoint(format!("model `{name}`")))?;
    Ok((model, named))
}
