//! A server that refuses our switch: a 4xx that names a field we set. The client never asked for that field, so its request
//! must not fail on it.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::time::timeout;

use crate::error::{Error, Limit};

/// Longer errors are not looked into; a refusal is a sentence.
const LONGEST: u64 = 64 << 10;

/// What a server's answer says of our switch.
pub enum Refusal {
    /// Nothing; here it is, whole.
    Unrelated(reqwest::Response),
    /// It names one of our fields.
    OfOurSwitch,
}

/// Looks whether an answer is a refusal of one of `fields`. Only a short 4xx is read, any other passes unread.
///
/// # Errors
/// When the answer breaks off while it is read.
pub async fn read(
    response: reqwest::Response,
    fields: &[&str],
    patience: Duration,
) -> Result<Refusal, Error> {
    let minds = matches!(
        response.status(),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
    );
    let length = response
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if !minds || length.is_none_or(|length| length > LONGEST) {
        return Ok(Refusal::Unrelated(response));
    }
    let (parts, body) = Response::<reqwest::Body>::from(response).into_parts();
    let collected = timeout(patience, body.collect()).await;
    let text: Bytes = collected
        .map_err(|_| Error::timeout(Limit::Idle, patience))?
        .map_err(|_| Error::Reset)?
        .to_bytes();
    let named = fields
        .iter()
        .any(|field| memmem::find(&text, field.as_bytes()).is_some());
    Ok(match named {
        true => Refusal::OfOurSwitch,
        false => Refusal::Unrelated(Response::from_parts(parts, text).into()),
    })
}
