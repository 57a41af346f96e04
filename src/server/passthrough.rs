//! Requests that are not judged: forwarded as they come, to the server of the model that they name.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::request::Parts;
use http_body::Body as _;

use super::{
    admission::{Guarded, admit, fail},
    body,
    flush::flush_before_failure,
};
use crate::{
    api::{ModelField, content_type},
    error::Error,
    pipeline::{self, AdmittedRequest},
    routing::Rendered,
    state::AppState,
    upstream::{Endpoint, Forward, Model},
};

/// Any other route of a model server.
pub async fn handle(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let route = Guarded::route(&parts.extensions);
    let (mut admitted, body) = match admit(&state, &parts, body, route).await {
        Ok(admitted) => admitted,
        Err(rejection) => return rejection,
    };
    if !body.is_end_stream()
        && let Err(error) = pipeline::check_content_coding(&parts.headers)
    {
        return fail(admitted.record, &error, Some(body));
    }
    let bytes = match body::receive(&state, &mut admitted, &parts.headers, body).await {
        Ok(bytes) => bytes,
        Err((error, rest)) => return fail(admitted.record, &error, rest),
    };
    admitted.record.bytes_in = bytes.len() as u64;
    let (model, named) = match find_model(&state, &parts, &bytes, &mut admitted).await {
        Ok(found) => found,
        Err(error) => return fail(admitted.record, &error, None),
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
                .map_or_else(|| bytes.clone().into(), |named| named.rename(&bytes, name));
            Rendered {
                body,
                fields: Vec::new(),
            }
        },
    };
    let AdmittedRequest {
        permit,
        held: _held, // as long as the body may be sent again
        record,
        ..
    } = admitted;
    match forward.send(&state.client, &model, record).await {
        Ok(response) => flush_before_failure(response, permit),
        Err((error, record)) => fail(record, &error, None),
    }
}

/// The model that a request is for, with its endpoints, and where the body names it.
async fn find_model(
    state: &AppState,
    parts: &Parts,
    body: &Bytes,
    admitted: &mut AdmittedRequest,
) -> Result<(Arc<Model>, Option<ModelField>), Error> {
    let content_type = content_type(&parts.headers)?;
    let named = pipeline::find_model_field(content_type, body, admitted).await?;
    let (name, model) = pipeline::resolve_model(state, named.as_ref(), admitted)?;
    let model = model.ok_or_else(|| Error::NoEndpoint(format!("model `{name}`")))?;
    Ok((model, named))
}
