//! Reads a request's body within its limits.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::{config::Server, error::Error};

/// Room set aside on a client's word alone; more comes as the bytes do.
const TRUSTED: u64 = 1 << 20;

/// The whole body.
///
/// # Errors
/// Over `server.max_body_bytes`, a pause over `server.body_idle_ms`, `server.body_ms` in all, or an early end; with the rest of the body, so that the
/// client can be answered while it sends.
pub async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Server,
) -> Result<Bytes, (Error, Body)> {
    let limit = limits.max_body_bytes;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err((Error::TooLarge { limit }, body));
    }
    let latest = Instant::now() + Duration::from_millis(limits.body_ms);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let pause = Instant::now() + Duration::from_millis(limits.body_idle_ms);
        let frame = match timeout_at(pause.min(latest), body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => return Err((Error::Incomplete, body)),
        };
        let Ok(data) = frame.into_data() else {
            continue;
        }; // trailers say nothing we need
        if (first.len() + all.len() + data.len()) as u64 > limit {
            return Err((Error::TooLarge { limit }, body));
        }
        // Most bodies come in one piece, which is then used as it is.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(announced.unwrap_or(0).min(TRUSTED) as usize);
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
        if body.is_end_stream() {
            break;
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}
