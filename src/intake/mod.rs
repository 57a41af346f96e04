//! What both doors do with a request before their ways part: let it in, read it, decide.
//!
//! The doors differ in how bytes come and go; what a request may do, which mode it gets and what is said about it must not.

mod decision;
mod entered;
mod guard;
mod request_id;
mod route;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

pub use decision::{MODE, MODEL, told, wish};
pub use entered::{About, Entered};
pub use guard::admit;
pub use request_id::{REQUEST_ID, request_id};
pub use route::{UNVERSIONED, is_inference, route_name};

use crate::{
    error::Error,
    live::Live,
    openai::{ChatRequest, NamedModel},
    routing::{Mode, Routed},
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
/// What is wrong with the request, or that its model is none of ours.
pub async fn judge(
    live: &Live,
    bytes: Bytes,
    wish: Option<Mode>,
    record: &mut Record,
) -> Result<Judged, Error> {
    record.bytes.0 = bytes.len() as u64;
    let began = Instant::now();
    let request = ChatRequest::read(bytes)?;
    let catalog = live.catalog.load_full();
    let target = catalog.resolve(request.model().as_deref())?;
    let routed = live.router.route(request, wish, &target).await?;
    record.decided = Some(decision::decided(&routed, began.elapsed().as_secs_f64()));
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

/// The name and the model of a request that is not judged: the one it names, else the only one there is. Of an alias the one
/// for unjudged requests.
///
/// # Errors
/// When the request names none and there is a choice, or one that is none of ours.
pub fn model_of(
    live: &Live,
    named: Option<&NamedModel>,
    record: &mut Record,
) -> Result<(Arc<str>, Option<Arc<Model>>), Error> {
    let catalog = live.catalog.load();
    let target = catalog.resolve(named.map(|named| named.name.as_str()))?;
    let (name, _) = target.choose(Mode::Unchanged);
    let model = catalog.model(&name).cloned();
    note(model.as_deref(), record);
    Ok((name, model))
}
