//! A server that refuses our switch: a 4xx that names a field we set. The client never asked for that field, so its request
//! must not fail on it.

use std::{collections::VecDeque, time::Duration};

use http::{StatusCode, header};
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::time::timeout;

use super::reply::{Reply, Unread};
use crate::error::{Error, Limit};

/// Errors are looked into as far as this, in bytes; a refusal is a sentence.
const LONGEST: usize = 64 << 10;

/// What a server's answer says of our switch.
pub enum Refusal {
    /// Nothing; here it is, whole.
    Unrelated(Reply),
    /// It names one of our fields.
    OfOurSwitch,
}

/// Looks whether an answer is a refusal of one of `fields`. Only a 4xx that may be one is read, with a length or without; any
/// other passes unread. `patience`: for each piece of it.
///
/// # Errors
/// When the answer breaks off while it is read.
pub async fn read(response: Reply, fields: &[&str], patience: Duration) -> Result<Refusal, Error> {
    if !may_refuse(response.status()) || length(&response).is_some_and(|length| length > LONGEST) {
        return Ok(Refusal::Unrelated(response));
    }
    let (parts, mut rest) = response.into_parts();
    let mut read = VecDeque::new();
    let mut text = Vec::new();
    let is_whole = loop {
        let next = timeout(patience, rest.frame()).await;
        let Some(frame) = next.map_err(|_| Error::timeout(Limit::Idle, patience))? else {
            break true;
        };
        let frame = frame.map_err(|_| Error::Reset)?;
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        read.push_back(frame);
        if text.len() > LONGEST {
            break false;
        }
    };
    let is_named = |field: &&str| memmem::find(&text, field.as_bytes()).is_some();
    // What is longer is no refusal, whatever it names: it may repeat the request.
    if is_whole && fields.iter().any(is_named) {
        return Ok(Refusal::OfOurSwitch);
    }
    let rest = (!is_whole).then_some(rest);
    let body = Unread::again(read, rest);
    Ok(Refusal::Unrelated(Reply::from_parts(parts, body)))
}

/// Statuses that may blame a field. Of the others it is known what they blame: the key, the path or the model's name, the time,
/// the size, the load.
fn may_refuse(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 413 | 429)
}

/// What the answer says of its length; none that can be read counts as none.
fn length(response: &Reply) -> Option<usize> {
    let value = response.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}
