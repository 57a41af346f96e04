//! Detects a server that rejects our switch: a 4xx whose text names a field we added.
//!
//! The client never sent that field, so its request must not fail because of it.

use std::{collections::VecDeque, time::Duration};

use http::StatusCode;
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::time::timeout;

use super::headers::content_length;
use crate::{
    error::{Error, Limit},
    upstream::transport::{BufferedBody, UpstreamResponse},
};

/// The longest error body that is searched, in bytes. A longer one may repeat the request, whatever fields it names.
const MAX_SEARCHED_BYTES: usize = 64 << 10;

/// Whether a server accepted the fields we added.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one match, and a box would be an allocation for every request"
)]
pub enum SwitchCheck {
    /// The response does not complain about our fields. It is returned whole.
    Accepted(UpstreamResponse),
    /// The response names one of our fields.
    Rejected,
}

/// Checks whether a response rejects one of the `fields` we added. Only a 4xx that may be a rejection is read; any other response
/// passes unread. `idle`: the time limit on each piece of the body.
///
/// # Errors
/// When the body fails while it is read.
pub async fn check(
    response: UpstreamResponse,
    fields: &[&str],
    idle: Duration,
) -> Result<SwitchCheck, Error> {
    let is_too_long = |length| length > MAX_SEARCHED_BYTES as u64;
    if !may_reject(response.status()) || content_length(response.headers()).is_some_and(is_too_long)
    {
        return Ok(SwitchCheck::Accepted(response));
    }
    let (parts, mut rest) = response.into_parts();
    let mut read = VecDeque::new();
    let mut text = Vec::new();
    let is_complete = loop {
        let next = timeout(idle, rest.frame()).await;
        let Some(frame) = next.map_err(|_| Error::timeout(Limit::Idle, idle))? else {
            break true;
        };
        let frame = frame.map_err(|_| Error::Reset)?;
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        read.push_back(frame);
        if text.len() > MAX_SEARCHED_BYTES {
            break false;
        }
    };
    let is_named = |field: &&str| memmem::find(&text, field.as_bytes()).is_some();
    if is_complete && fields.iter().any(is_named) {
        return Ok(SwitchCheck::Rejected);
    }
    let rest = (!is_complete).then_some(rest);
    let body = BufferedBody::with_prefix(read, rest);
    Ok(SwitchCheck::Accepted(UpstreamResponse::from_parts(
        parts, body,
    )))
}

/// True for statuses that may complain about a field. The excluded ones have another known cause: the key, the path or the model's
/// name, the time, the size, the load.
fn may_reject(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 413 | 429)
}
