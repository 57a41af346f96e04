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

pub use decision::{told, wish};
pub use entered::{About, Entered};
pub use guard::admit;
pub use request_id::{REQUEST_ID, request_id};
pub use route::{CHAT, UNVERSIONED, is_inference, route_name};

use crate::{
    error::Error,
    live::Live,
    openai::{ChatRequest, NamedModel},
    routing::{Mode, Routed},
    telemetry::Record,
};

/// Decides for a chat request. `wish`: the mode the client asks for.
///
/// # Errors
/// What is wrong with the request, or that its model is none of ours.
pub async fn judge(
    live: &Live,
    bytes: Bytes,
    wish: Option<Mode>,
    record: &mut Record,
) -> Result<Routed, Error> {
    record.bytes.0 = bytes.len() as u64;
    let began = Instant::now();
    let request = ChatRequest::read(bytes)?;
    let catalog = live.catalog.load_full();
    let target = catalog.resolve(request.model().as_deref())?;
    let routed = live.router.route(request, wish, &target).await?;
    record.decided = Some(decision::decided(&routed, began.elapsed().as_secs_f64()));
    // Where any name is taken, a name is the client's text, which is no label.
    if let Some(model) = catalog.model(&routed.model) {
        record.model = model.name.clone();
    }
    Ok(routed)
}

/// The model of a request that is not judged: the one it names, else the only one there is. Of an alias the one for
/// unjudged requests.
///
/// # Errors
/// When the request names none and there is a choice, or one that is none of ours.
pub fn model_of(live: &Live, named: Option<&NamedModel>) -> Result<Arc<str>, Error> {
    let name = named.map(|named| named.name.as_str());
    let target = live.catalog.load().resolve(name)?;
    Ok(target.choose(Mode::Unchanged).0)
}
