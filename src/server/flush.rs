//! Writes what came of a response before a failure closes the connection to the client.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::{pipeline::Permit, upstream::RelayBody};

/// A body that holds back the error of another one for one turn of its task. hyper closes the connection once it sees an error, with
/// what is not written yet, the head of the response included.
struct FlushBeforeFailure<B: Body> {
    inner: B,
    failure: Option<B::Error>,
    /// The request stays in flight until its body is dropped.
    _permit: Option<Permit>,
}

/// A response whose beginning reaches the client when the rest fails, and which holds the permit of its request.
pub fn flush_before_failure(
    response: Response<RelayBody>,
    permit: Option<Permit>,
) -> Response<axum::body::Body> {
    response.map(|body| axum::body::Body::new(FlushBeforeFailure::new(body, permit)))
}

impl<B: Body> FlushBeforeFailure<B> {
    fn new(inner: B, permit: Option<Permit>) -> Self {
        Self {
            inner,
            failure: None,
            _permit: permit,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for FlushBeforeFailure<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(failure) = mem::take(&mut self.failure) {
            return Poll::Ready(Some(Err(failure)));
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Err(failure)) => {
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn what_came_before_a_failure_is_flushed_before_the_failure_is_told() {
        for before in [&["a"][..], &[]] {
            let frames = before
                .iter()
                .map(|data| Ok(Frame::data(Bytes::from(*data))));
            let frames = frames.chain([Err("reset")]);
            let inner = StreamBody::new(futures_util::stream::iter(frames));
            let mut body = FlushBeforeFailure::new(inner, None);
            for _ in before {
                assert!(body.frame().await.unwrap().is_ok());
            }
            assert!(body.frame().now_or_never().is_none());
            assert_eq!(body.frame().await.unwrap().unwrap_err(), "reset");
        }
    }
}
