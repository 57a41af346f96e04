//! Errors become answers, here and nowhere else at this door; also while the client is still sending.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::{Sleep, sleep};

use crate::error::Error;

/// The most bytes that are read and discarded of a refused request. Closing the connection on a client that still sends would
/// reset it before the client has read the answer.
const DISCARD_BYTES: usize = 64 << 20;
/// The longest time that is spent on that.
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
        Body::new(DrainingBody {
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

/// A response body that sends the error's text, then reads and discards the rest of the request.
struct DrainingBody {
    text: Option<Bytes>,
    rest: Body,
    left: usize,
    timer: Pin<Box<Sleep>>,
}

impl http_body::Body for DrainingBody {
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
