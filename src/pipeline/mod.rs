//! What both doors do with a request: admit it, read it, decide, and say what was decided.
//!
//! The doors differ in how bytes arrive and leave. What a request may do, which mode it gets and what is recorded of it is the
//! same at both, because both call this module.

mod admit;
mod body_budget;
mod body_buffer;
mod client_address;
mod concurrency;
mod decision_headers;
mod holdings;
mod models;
mod path_lists;
mod paths;
mod request_id;
mod requested_mode;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

pub use admit::{AdmittedRequest, RequestInfo, guard, reject};
pub use body_budget::{BodyBudget, BudgetLimits, HeldBytes};
pub use body_buffer::BodyBuffer;
pub use client_address::{client_address, parse_address};
pub use concurrency::{ConcurrencyLimit, Permit, PlaceLimits};
pub use decision_headers::{MODEL, decision_headers};
pub use holdings::{Holdings, TenantShare};
pub use models::{check_without_body, get_model, list_models};
pub use path_lists::UNVERSIONED;
pub use paths::{Route, unlisted};
pub use request_id::{REQUEST_ID, RequestId};
pub use requested_mode::{MODE, requested_mode};

use crate::{
    api::{ChatRequest, ModelField},
    error::Error,
    routing::{Mode, Routed},
    state::AppState,
    telemetry::Record,
    upstream::Model,
};

/// A chat request with its decision.
pub struct DecidedRequest {
    /// The request and the decision, ready to be rendered for an endpoint.
    pub routed: Routed,
    /// The model that answers. `None` where any model name is accepted and this one is not configured.
    pub model: Option<Arc<Model>>,
}

/// Reads a chat request and decides. `requested_mode` is the client's `x-thinkgate-mode`.
///
/// # Errors
/// What is wrong with the request, or that its model is unknown or not allowed for its key.
pub async fn decide(
    state: &AppState,
    bytes: Bytes,
    requested_mode: Option<Mode>,
    admitted: &mut AdmittedRequest,
) -> Result<DecidedRequest, Error> {
    let AdmittedRequest {
        record,
        caller,
        share,
        ..
    } = admitted;
    record.bytes_in = bytes.len() as u64;
    let began = Instant::now();
    let request = ChatRequest::read(bytes)?;
    let catalog = state.catalog.load_full();
    let asked = request.model();
    let routed = async {
        let target = models::resolve(&catalog, caller.as_deref(), asked.as_deref())?;
        let router = &state.router;
        router
            .route(request, requested_mode, &target, share.tenant())
            .await
    };
    let routed = routed
        .await
        .inspect_err(|_| note_asked_model(record, asked.as_deref()))?;
    let seconds = began.elapsed().as_secs_f64();
    record.decision = Some(decision_headers::decision_record(&routed, seconds));
    let model = catalog.model(&routed.model).cloned();
    set_model(record, model.as_deref());
    Ok(DecidedRequest { routed, model })
}

/// Finds the model that the body of an unjudged request names, if it names one.
///
/// # Errors
/// When the model is named twice or is no string. For a key that may use some models only, also when the body cannot be read: its
/// server may read another model there.
pub fn find_model_field(
    content_type: Option<&str>,
    body: &Bytes,
    admitted: &AdmittedRequest,
) -> Result<Option<ModelField>, Error> {
    let found = ModelField::find(content_type, body)?;
    if found.is_none() && admitted.is_restricted() && !ModelField::has_no_model(content_type, body)
    {
        return Err(Error::ModelNotAllowed(None));
    }
    Ok(found)
}

/// The name and the model that an unjudged request is for: the one it names, else the only one there is. An alias stands for its
/// `unchanged` model.
///
/// # Errors
/// When the request names no model and there are several, or one that is unknown or not allowed for its key.
pub fn resolve_model(
    state: &AppState,
    named: Option<&ModelField>,
    admitted: &mut AdmittedRequest,
) -> Result<(Arc<str>, Option<Arc<Model>>), Error> {
    let catalog = state.catalog.load();
    let name = named.map(|named| named.name.as_str());
    let target = models::resolve(&catalog, admitted.caller.as_deref(), name)
        .inspect_err(|_| note_asked_model(&mut admitted.record, name))?;
    let (name, _) = target.choose(Mode::Unchanged);
    let model = catalog.model(&name).cloned();
    set_model(&mut admitted.record, model.as_deref());
    Ok((name, model))
}

/// Notes for the log line of a request that failed which model it asked for.
fn note_asked_model(record: &mut Record, name: Option<&str>) {
    if let Some(name) = name {
        record.set_asked_model(name);
    }
}

/// Records the model of a request. A model that is not configured is recorded as none: its name is the client's text, and a
/// metric label must not be.
fn set_model(record: &mut Record, model: Option<&Model>) {
    if let Some(model) = model {
        record.model = model.name.clone();
    }
}
