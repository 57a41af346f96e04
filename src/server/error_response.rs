//! Errors become answers, here and nowhere else in this door; also while the client is still sending.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, header};
use http_body::{Body as _, Frame};
use tokio::time::{Sleep, sleep};

use super::entered::Entered;
use crate::{
    auth::Caller,
    error::Error,
    pipeline::{self, NOT_FOR_CLIENTS},
    state::AppState,
};

/// How much of a request that is refused is still read: closing on a client that sends would reset the connection before
/// it has read the answer.
const DISCARD_BYTES: usize = 64 << 20;
/// And for how long.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// The answer to a request that failed, when all of it was read.
pub fn answer(error: &Error) -> Response {
    respond(error, Body::from(text(error)))
}

/// The answer to a request that failed before its body was read: sent at once, then the rest is read and discarded.
pub fn answer_early(error: &Error, rest: Body) -> Response {
    if rest.is_end_stream() {
        return answer(error);
    }
    let timer = Box::pin(sleep(DISCARD_TIME));
    respond(
        error,
        Body::new(Parting {
            text: Some(text(error)),
            rest,
            left: DISCARD_BYTES,
            timer,
        }),
    )
}

fn text(error: &Error) -> Bytes {
    error.body().to_string().into()
}

fn respond(error: &Error, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = error.status();
    response.headers_mut().extend(error.headers());
    response
}

/// What a route may see: the request, with whose key it came.
///
/// # Errors
/// The answer to a request that means two things, to a path that means another one, and to whoever has no key.
#[expect(
    clippy::result_large_err,
    reason = "an answer is what the caller returns either way"
)]
pub fn guard(state: &AppState, mut request: Request) -> Result<Request, Response> {
    if is_ambiguous(request.headers()) {
        let error =
            Error::invalid("The request names two hosts, or a transfer coding but chunked.");
        let mut response = Entered::turn_away(state, request, &error);
        let close = HeaderValue::from_static("close"); // whoever stands before us may see the next request elsewhere
        response.headers_mut().insert(header::CONNECTION, close);
        return Err(response);
    }
    if matches!(request.uri().path(), "/health" | "/ready" | "/metrics") {
        return Ok(request);
    }
    match pipeline::admit(state, request.uri().path(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(CameWith(caller));
            match disguised(request.uri().path()) {
                Some(error) => Err(Entered::turn_away(state, request, &error)),
                None => Ok(request),
            }
        }
        Err(error) => Err(Entered::turn_away(state, request, &error)),
    }
}

/// A 404 for a path that by its letters is forwarded, and to its server is a route that is not. Refused rather than taken for it:
/// what reads the path behind us, once or twice decoded, is not ours to know, and no client spells it so in earnest.
fn disguised(path: &str) -> Option<Error> {
    let meant = pipeline::disguised(path)?;
    let hint = match NOT_FOR_CLIENTS.contains(&&*meant) {
        true => String::new(),
        false => format!(" Write it as {meant}."),
    };
    Some(Error::RouteNotFound(format!(
        "There is nothing at {path}.{hint}"
    )))
}

/// True when another server may read another request out of the same bytes. What HTTP itself forbids, such as two lengths, is
/// refused before it comes here; a length beside a coding is dropped (RFC 9112, 6.3).
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = codings
        .next()
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    !is_plain || codings.next().is_some() || headers.get_all(header::HOST).iter().nth(1).is_some()
}

/// Whose key a request came with, where keys are asked for.
#[derive(Debug, Clone)]
pub struct CameWith(Option<Arc<Caller>>);

impl CameWith {
    /// What the guard found out of a request.
    pub fn of(known: &Extensions) -> Option<&Arc<Caller>> {
        known.get::<Self>()?.0.as_ref()
    }
}

/// An error's text, and then the rest of the request, read and thrown away.
struct Parting {
    text: Option<Bytes>,
    rest: Body,
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl http_body::Body for Parting {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(text) = self.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        loop {
            if self.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            match Pin::new(&mut self.rest).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    match self.left.checked_sub(length) {
                        Some(left) => self.left = left,
                        None => return Poll::Ready(None),
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
            }
        }
    }
}
