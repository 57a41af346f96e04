//! Coalesces the chunks of a response body: those that have arrived together are written to the client in one write.
//!
//! A model server's burst of events is read in several chunks when it is longer than one read, and over HTTP/2 always. This body
//! takes chunks as long as there are any and passes them on as one. It never waits for a chunk that has not arrived.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::{
    pipeline::{BodyBuffer, Permit},
    upstream::RelayBody,
};

/// The most bytes that are coalesced into one chunk. It bounds what is read ahead for a client that is slower than its server.
const MAX_BYTES: usize = 64 << 10;

/// A body that yields the chunks of another one, coalesced.
pub struct Coalesce<B: Body> {
    inner: B,
    buffer: BodyBuffer,
    /// What followed the buffered chunks: trailers, an error, or the end.
    next: Option<Option<Result<Frame<Bytes>, B::Error>>>,
    /// True once the connection had a turn to write what came before an error.
    is_flushed: bool,
    /// The request stays in flight until its body is dropped.
    _permit: Option<Permit>,
}

/// A response whose body is coalesced, and holds the permit of its request.
pub fn coalesced(
    response: Response<RelayBody>,
    permit: Option<Permit>,
) -> Response<axum::body::Body> {
    response.map(|body| axum::body::Body::new(Coalesce::new(body, permit)))
}

impl<B: Body<Data = Bytes> + Unpin> Coalesce<B> {
    fn new(inner: B, permit: Option<Permit>) -> Self {
        Self {
            inner,
            buffer: BodyBuffer::default(),
            next: None,
            is_flushed: false,
            _permit: permit,
        }
    }

    /// What followed the buffered chunks. An error is held back for one turn: once hyper sees it, it closes the connection, with
    /// what is not written yet, the response head included.
    fn poll_next_item(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let fails = matches!(self.next, Some(Some(Err(_))));
        if fails && !mem::replace(&mut self.is_flushed, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.next.take().flatten())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Coalesce<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.next.is_some() {
            return this.poll_next_item(cx);
        }
        while this.buffer.len() < MAX_BYTES {
            match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => this.buffer.push(data),
                    Err(trailers) => {
                        this.next = Some(Some(Ok(trailers)));
                        break;
                    }
                },
                Poll::Ready(end) => {
                    this.next = Some(end);
                    break;
                }
                Poll::Pending if this.buffer.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
            if this.inner.is_end_stream() {
                break;
            }
        }
        match this.buffer.is_empty() {
            true => this.poll_next_item(cx),
            false => Poll::Ready(Some(Ok(Frame::data(this.buffer.take())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.next {
            None => self.inner.is_end_stream(),
            Some(next) => next.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use futures_util::FutureExt;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    /// Gives what is there; `None` is where nothing more is.
    struct Pieces(VecDeque<Option<&'static str>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Some(text)) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
            }
        }
    }

    async fn coalesce_all(pieces: &[Option<&'static str>]) -> Vec<String> {
        let mut body = Coalesce::new(Pieces(pieces.iter().copied().collect()), None);
        let mut coalesced = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            coalesced.push(String::from_utf8(data.to_vec()).unwrap());
        }
        coalesced
    }

    #[tokio::test]
    async fn a_burst_leaves_in_one_piece_and_what_comes_later_in_another() {
        let said = [Some("a"), Some("b"), Some("c"), None, Some("d"), None, None];
        assert_eq!(coalesce_all(&said).await, ["abc", "d"]);
        assert!(coalesce_all(&[]).await.is_empty());
        assert!(coalesce_all(&[None, None]).await.is_empty());
    }

    #[tokio::test]
    async fn what_came_before_a_failure_is_flushed_before_the_failure_is_told() {
        let pieces = [Ok(Frame::data(Bytes::from("a"))), Err("reset")];
        let inner = StreamBody::new(futures_util::stream::iter(pieces));
        let mut body = Coalesce::new(inner, None);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "reset");
    }

    #[tokio::test]
    async fn a_head_is_flushed_before_a_failure_of_its_body_is_told() {
        let inner = StreamBody::new(futures_util::stream::iter([Err::<Frame<Bytes>, _>(
            "reset",
        )]));
        let mut body = Coalesce::new(inner, None);
        assert!(body.frame().now_or_never().is_none());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "reset");
    }

    #[tokio::test]
    async fn a_client_that_is_slower_than_the_server_is_not_read_ahead_for() {
        const LONG: &str = match std::str::from_utf8(&[b'x'; MAX_BYTES]) {
            Ok(long) => long,
            Err(_) => "",
        };
        let lengths: Vec<_> = coalesce_all(&[Some("a"), Some(LONG), Some("b"), Some("c")]).await;
        let lengths: Vec<_> = lengths.iter().map(String::len).collect();
        assert_eq!(lengths, [1 + MAX_BYTES, 2]);
    }
}
