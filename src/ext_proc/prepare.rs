//! What goes on in place of a request: the same head and body that the HTTP door would send.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use super::mutation::HeaderChange;
use crate::{
    error::Error,
    pipeline::{self, AdmittedRequest, MODE, MODEL},
    routing::Mode,
    state::AppState,
    upstream::EnvoyModel,
};

/// What a client is told of a decision, as headers of the answer.
pub type Told = Vec<(HeaderName, HeaderValue)>;

/// What goes on in place of what came.
pub struct Prepared {
    /// What changes in the head.
    pub head: HeaderChange,
    /// The body.
    pub body: Bytes,
    /// True when the body is another than came.
    pub is_changed: bool,
}

/// Decides for a chat request. `wish`: the mode the client asks for.
///
/// # Errors
/// What is wrong with it, or that its model is none of ours.
pub async fn judged(
    state: &AppState,
    body: Bytes,
    wish: Option<Mode>,
    admitted: &mut AdmittedRequest,
) -> Result<(Prepared, Told), Error> {
    let judged = pipeline::decide(state, body.clone(), wish, admitted).await?;
    let routed = judged.routed;
    let profile = EnvoyModel::of(judged.model.as_deref(), &routed.model);
    let upstream = profile.name.as_deref().unwrap_or(&routed.model);
    let rendered = routed.render(profile.family, profile.name.as_deref()).body;
    let told: Told =
        pipeline::decision_headers(&routed.decision, HeaderValue::try_from(upstream).ok())
            .collect();
    let mut head = HeaderChange::default();
    let steering = told
        .iter()
        .filter(|(name, _)| *name == MODE || *name == MODEL);
    head.set.extend(steering.cloned());
    head.reroute = true;
    Ok((going(head, profile, rendered, &body), told))
}

/// Names the model of a request that is not judged as its server knows it. A request that names none goes on as it came,
/// unless its key is for some models only.
///
/// # Errors
/// When the model it names is none of ours or not for its key.
pub fn named(
    state: &AppState,
    body: Bytes,
    content_type: Option<&str>,
    admitted: &mut AdmittedRequest,
) -> Result<Prepared, Error> {
    admitted.record.bytes_in = body.len() as u64;
    let mut head = HeaderChange::default();
    let found = pipeline::find_model_field(content_type, &body, admitted)?;
    let (name, model) = match pipeline::resolve_model(state, found.as_ref(), admitted) {
        Ok(found) => found,
        Err(_) if found.is_none() && !admitted.is_restricted() => {
            return Ok(going(head, EnvoyModel::default(), body.clone(), &body));
        }
        Err(error) => return Err(error),
    };
    let profile = EnvoyModel::of(model.as_deref(), &name);
    let upstream = profile.name.as_deref().unwrap_or(&name);
    if let Ok(value) = HeaderValue::try_from(upstream) {
        head.set(MODEL, value);
        head.reroute = true;
    }
    let renamed = found.map_or_else(|| body.clone(), |found| found.rename(&body, upstream));
    Ok(going(head, profile, renamed, &body))
}

/// A request with the key of its model.
fn going(mut head: HeaderChange, profile: EnvoyModel, body: Bytes, came: &Bytes) -> Prepared {
    if let Some(key) = profile.authorization {
        head.set(header::AUTHORIZATION, key);
    }
    let is_changed = body != came;
    Prepared {
        head,
        body,
        is_changed,
    }
}
