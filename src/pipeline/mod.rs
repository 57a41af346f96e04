//! What both doors do with a request: admit it, read it, decide, and say what was decided.
//!
//! The doors differ in how bytes arrive and leave. What a request may do, which mode it gets and what is recorded of it is the
//! same at both, because both call this module.

mod admit;
mod body_budget;
mod client_address;
mod concurrency;
mod content_coding;
mod decision_headers;
mod holdings;
mod long_work;
mod models;
mod path_lists;
mod paths;
mod request_id;
mod requested_mode;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

pub use admit::{AdmittedRequest, RequestInfo, guard, reject};
pub use body_budget::{BodyBudget, BudgetLimits, HeldBytes};
pub use client_address::{client_address, parse_address};
pub use concurrency::{ConcurrencyLimit, Permit, PlaceLimits};
pub use content_coding::check_content_coding;
pub use decision_headers::{MODEL, decision_headers};
pub use holdings::{Holdings, TenantShare};
pub use long_work::{is_long, run_long};
pub use models::{check_without_body, get_model, list_models};
pub use path_lists::UNVERSIONED;
pub use paths::{Route, unlisted};
pub use request_id::{REQUEST_ID, RequestId};
pub use requested_mode::{MODE, requested_mode};

use crate::{
    api::{ChatRequest, ModelField},
    auth::Caller,
    error::Error,
    routing::{Mode, Routed},
    state::AppState,
    telemetry::Record,
    tenant::Tenant,
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
    state: &Arc<AppState>,
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
    let decided = match is_long(bytes.len()) {
        false => {
            let tenant = share.tenant();
            decide_body(state, bytes, requested_mode, caller.as_deref(), tenant).await
        }
        true => {
            let (state, caller, tenant) = (state.clone(), caller.clone(), share.tenant().clone());
            let work = async move {
                let caller = caller.as_deref();
                let decided = decide_body(&state, bytes, requested_mode, caller, &tenant).await?;
                decided.routed.request.prepare_edits();
                Ok(decided)
            };
            run_long(work).await?
        }
    };
    let decided = decided.map_err(|(error, asked)| {
        note_asked_model(record, asked.as_deref());
        error
    })?;
    let seconds = began.elapsed().as_secs_f64();
    record.decision = Some(decision_headers::decision_record(&decided.routed, seconds));
    set_model(record, decided.model.as_deref());
    Ok(decided)
}

/// The same for a body alone.
///
/// # Errors
/// The same, with the model that the request asks for.
async fn decide_body(
    state: &AppState,
    bytes: Bytes,
    requested_mode: Option<Mode>,
    caller: Option<&Caller>,
    tenant: &Tenant,
) -> Result<DecidedRequest, (Error, Option<String>)> {
    let request = ChatRequest::read(bytes).map_err(|error| (error, None))?;
    let catalog = state.catalog.load_full();
    let asked = request.model();
    let routed = async {
        let target = models::resolve(&catalog, caller, asked.as_deref())?;
        let router = &state.router;
        router.route(request, requested_mode, &target, tenant).await
    };
    let routed = match routed.await {
        Ok(routed) => routed,
        Err(error) => return Err((error, asked)),
    };
    let model = catalog.model(&routed.model).cloned();
    Ok(DecidedRequest { routed, model })
}

/// Finds the model that the body of an unjudged request names, if it names one.
///
/// # Errors
/// What [`ModelField::find`] refuses. For a key that may use some models only, also a 403 when the body cannot be read: its
/// server may read another model there.
pub async fn find_model_field(
    content_type: Option<&str>,
    body: &Bytes,
    admitted: &AdmittedRequest,
) -> Result<Option<ModelField>, Error> {
    let is_restricted = admitted.is_restricted();
    let find = move |content_type: Option<&str>, body: &Bytes| {
        let found = ModelField::find(content_type, body)?;
        let is_unread =
            found.is_none() && is_restricted && !ModelField::has_no_model(content_type, body);
        match is_unread {
            true => Err(Error::ModelNotAllowed(None)),
            false => Ok(found),
        }
    };
    if !is_long(body.len()) {
        return find(content_type, body);
    }
    let (content_type, body) = (content_type.map(str::to_owned), body.clone());
    run_long(async move { find(content_type.as_deref(), &body) }).await?
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
