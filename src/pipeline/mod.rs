//! What both doors do with a request before their ways part: let it in, read it, decide.
//!
//! The doors differ in how bytes come and go; what a request may do, which mode it gets and what is said about it must not.

mod admit;
mod concurrency;
mod decision_headers;
mod guard;
mod models;
mod paths;
mod request_id;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

pub use admit::{About, Entered};
pub use concurrency::{Place, Places};
pub use decision_headers::{MODE, MODEL, told, wish};
pub use guard::admit;
pub use models::{list, one, unread};
pub use paths::{
    NOT_FOR_CLIENTS, UNVERSIONED, decoded, disguised, is_inference, listed, route_name,
};
pub use request_id::{REQUEST_ID, request_id};

use crate::{
    api::{ChatRequest, ModelField},
    error::Error,
    routing::{Mode, Routed},
    state::AppState,
    telemetry::Record,
    upstream::Model,
};

/// A chat request with its decision.
pub struct Judged {
    /// What goes on.
    pub routed: Routed,
    /// The model that answers; `None` where any name is taken and nothing is known of it but the name.
    pub model: Option<Arc<Model>>,
}

/// Decides for a chat request. `wish`: the mode the client asks for.
///
/// # Errors
/// What is wrong with the request, or that its model is none of ours or not for its key.
pub async fn judge(
    state: &AppState,
    bytes: Bytes,
    wish: Option<Mode>,
    entered: &mut Entered,
) -> Result<Judged, Error> {
    let Entered { record, caller, .. } = entered;
    record.bytes_in = bytes.len() as u64;
    let began = Instant::now();
    let request = ChatRequest::read(bytes)?;
    let catalog = state.catalog.load_full();
    let target = models::resolve(&catalog, caller.as_deref(), request.model().as_deref())?;
    let routed = state.router.route(request, wish, &target).await?;
    record.decision = Some(decision_headers::decision_record(
        &routed,
        began.elapsed().as_secs_f64(),
    ));
    let model = catalog.model(&routed.model).cloned();
    note(model.as_deref(), record);
    Ok(Judged { routed, model })
}

/// Records which model a request is for. Where any name is taken, a name is the client's text, which is no label.
fn note(model: Option<&Model>, record: &mut Record) {
    if let Some(model) = model {
        record.model = model.name.clone();
    }
}

/// Where the body of a request that is not judged names its model, if it does.
///
/// # Errors
/// When the model is named twice or is no string. For a key that is not for all models also when the body cannot be read: its
/// server may read another model there.
pub fn named(
    content_type: Option<&str>,
    body: &Bytes,
    entered: &Entered,
) -> Result<Option<ModelField>, Error> {
    let found = ModelField::find(content_type, body)?;
    if found.is_none() && entered.is_restricted() && !ModelField::has_no_model(content_type, body) {
        return Err(Error::ModelNotAllowed(None));
    }
    Ok(found)
}

/// The name and the model of a request that is not judged: the one it names, else the only one there is. Of an alias the one
/// for unjudged requests.
///
/// # Errors
/// When the request names none and there is a choice, or one that is none of ours or not for its key.
pub fn model_of(
    state: &AppState,
    named: Option<&ModelField>,
    entered: &mut Entered,
) -> Result<(Arc<str>, Option<Arc<Model>>), Error> {
    let catalog = state.catalog.load();
    let name = named.map(|named| named.name.as_str());
    let target = models::resolve(&catalog, entered.caller.as_deref(), name)?;
    let (name, _) = target.choose(Mode::Unchanged);
    let model = catalog.model(&name).cloned();
    note(model.as_deref(), &mut entered.record);
    Ok((name, model))
}
