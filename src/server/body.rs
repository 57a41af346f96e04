//! Receives a request's body within its limits.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::{
    api::BodyBuffer,
    config::Server,
    error::{Error, Limit},
    pipeline::AdmittedRequest,
    state::AppState,
    upstream::content_length,
};

/// The most that is allocated because of a `content-length` alone, in bytes; more is allocated as the bytes arrive.
const MAX_PREALLOCATED: u64 = 1 << 20;

/// Receives the whole body, and then takes a place in flight.
///
/// # Errors
/// Over `server.max_body_bytes`, a pause over `server.body_idle_ms`, `server.body_ms` in all, or an early end; no room for the
/// body, or no place; with the rest of the body, so that the client can be answered while it sends.
pub async fn receive(
    state: &AppState,
    admitted: &mut AdmittedRequest,
    headers: &HeaderMap,
    body: Body,
) -> Result<Bytes, (Error, Option<Body>)> {
    let limits = &state.config.server;
    let hold = |length| admitted.hold_body(state, length);
    let read = read(headers, body, limits, hold).await;
    let bytes = read.map_err(|(error, rest)| (error, Some(rest)))?;
    admitted.take_place(state).map_err(|error| (error, None))?;
    Ok(bytes)
}

/// Reads the whole body. `hold` makes room for the bytes that are there, before they are kept.
async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Server,
    mut hold: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Bytes, (Error, Body)> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let limit = limits.max_body_bytes;
    let announced = content_length(headers);
    if announced.is_some_and(|length| length > limit) {
        return Err((Error::BodyTooLarge { limit }, body));
    }
    let latest = Instant::now() + limits.body_timeout();
    let expected = announced.unwrap_or(0).min(MAX_PREALLOCATED);
    let mut buffer = BodyBuffer::expecting(expected as usize);
    if let Err(error) = hold(0) {
        return Err((error, body));
    }
    loop {
        let pause = Instant::now() + limits.body_idle_timeout();
        let frame = match timeout_at(pause.min(latest), body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err((Error::IncompleteBody, body)),
            Err(_) => {
                let (setting, limit_ms) = match pause < latest {
                    true => (Limit::BodyIdle, limits.body_idle_ms),
                    false => (Limit::Body, limits.body_ms),
                };
                return Err((Error::BodyTimeout { setting, limit_ms }, body));
            }
        };
        let Ok(data) = frame.into_data() else {
            continue;
        }; // trailers say nothing we need
        if (buffer.len() + data.len()) as u64 > limit {
            return Err((Error::BodyTooLarge { limit }, body));
        }
        if let Err(error) = hold(buffer.len() + data.len()) {
            return Err((error, body));
        }
        buffer.push(data);
        if body.is_end_stream() {
            break;
        }
    }
    Ok(buffer.take())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use tokio::time::sleep;

    use super::*;

    /// Reads a body that comes byte by byte, one every `pause` milliseconds.
    async fn read_slowly(pause: u64, count: usize) -> Result<Bytes, Error> {
        let pieces = stream::unfold(0, move |sent| async move {
            sleep(Duration::from_millis(pause)).await;
            (sent < count).then_some((Ok::<_, Error>(Bytes::from_static(b"x")), sent + 1))
        });
        let limits = Server {
            body_idle_ms: 100,
            body_ms: 1000,
            ..Server::default()
        };
        let read = read(
            &HeaderMap::new(),
            Body::from_stream(pieces),
            &limits,
            |_| Ok(()),
        )
        .await;
        read.map_err(|(error, _)| error)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_told_which_limit_passed() {
        assert_eq!(read_slowly(90, 10).await.unwrap().len(), 10);
        for (pause, limit) in [
            (110, "server.body_idle_ms = 100 ms"),
            (90, "server.body_ms = 1000 ms"),
        ] {
            let error = read_slowly(pause, 100).await.unwrap_err();
            assert_eq!(error.status(), 408);
            assert!(error.to_string().contains(limit), "{error}");
        }
    }
}
