//! Gathers the chunks of a response that have arrived together into one.
//!
//! hyper hands over the chunks of a burst of events one by one, with a turn of the task that reads the connection between two.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::api::BodyBuffer;

/// The most bytes that are gathered into one chunk. It bounds what is read ahead for a client that is slower than its server.
const MAX_BYTES: usize = 64 << 10;

/// How often the inner body is found without a chunk before the gathered ones are passed on. The server's half of hyper polls a body
/// twice in a turn of its task, so the third time is after a turn of all other tasks.
const IDLE_POLLS: u8 = 3;

/// A body that yields the chunks of another one, gathered. The first chunk is passed on at once. From then on it takes chunks as long
/// as there are any, and gives the task that reads the connection one turn to hand over more. It never waits for a chunk that has not
/// arrived.
#[derive(Debug)]
pub struct Gather<B: Body> {
    inner: B,
    buffer: BodyBuffer,
    /// What followed the gathered chunks: trailers, an error, or the end.
    next: Option<Option<Result<Frame<Bytes>, B::Error>>>,
    /// True once a chunk was passed on.
    has_begun: bool,
    /// How often there was no chunk since the last one.
    idle_polls: u8,
}

impl<B: Body<Data = Bytes> + Unpin> Gather<B> {
    /// Gathers the chunks of `inner`.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            buffer: BodyBuffer::default(),
            next: None,
            has_begun: false,
            idle_polls: 0,
        }
    }

    /// Takes what is there. Pending if the inner body has no more now.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.next.is_none() && self.buffer.len() < MAX_BYTES && !self.inner.is_end_stream() {
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.idle_polls = 0;
                        self.buffer.push(data);
                    }
                    Err(trailers) => self.next = Some(Some(Ok(trailers))),
                },
                end => self.next = Some(end),
            }
        }
        Poll::Ready(())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Gather<B>
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
        if this.gather(cx).is_pending() {
            if this.buffer.is_empty() {
                return Poll::Pending;
            }
            this.idle_polls += 1;
            if this.has_begun && this.idle_polls < IDLE_POLLS {
                cx.waker().wake_by_ref(); // behind the task that reads
                return Poll::Pending;
            }
        }
        if this.buffer.is_empty() {
            return Poll::Ready(this.next.take().flatten());
        }
        (this.has_begun, this.idle_polls) = (true, 0);
        Poll::Ready(Some(Ok(Frame::data(this.buffer.take()))))
    }

    fn is_end_stream(&self) -> bool {
        let ends = match &self.next {
            None => self.inner.is_end_stream(),
            Some(next) => next.is_none(),
        };
        self.buffer.is_empty() && ends
    }

    fn size_hint(&self) -> SizeHint {
        longer_by(self.buffer.len() as u64, &self.inner.size_hint())
    }
}

/// The size of a body of which this many bytes were read, and whose rest has the size `rest`.
pub fn longer_by(read: u64, rest: &SizeHint) -> SizeHint {
    let mut hint = SizeHint::new();
    hint.set_lower(read + rest.lower());
    if let Some(upper) = rest.upper() {
        hint.set_upper(read + upper);
    }
    hint
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http_body_util::BodyExt;

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

    async fn gather_all(pieces: &[Option<&'static str>]) -> Vec<String> {
        let mut body = Gather::new(Pieces(pieces.iter().copied().collect()));
        let mut gathered = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            gathered.push(String::from_utf8(data.to_vec()).unwrap());
        }
        gathered
    }

    #[tokio::test]
    async fn a_burst_leaves_in_one_piece_and_what_comes_later_in_another() {
        let pieces = [
            Some("a"),
            Some("b"),
            None,
            Some("c"),
            None, // a turn
            Some("d"),
            None,
            None,
            None, // nothing came in it
            Some("e"),
        ];
        assert_eq!(gather_all(&pieces).await, ["ab", "cd", "e"]);
        assert!(gather_all(&[]).await.is_empty());
        assert!(gather_all(&[None, None]).await.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_is_slower_than_the_server_is_not_read_ahead_for() {
        const LONG: &str = match std::str::from_utf8(&[b'x'; MAX_BYTES]) {
            Ok(long) => long,
            Err(_) => "",
        };
        let lengths: Vec<_> = gather_all(&[Some("a"), Some(LONG), Some("b"), Some("c")]).await;
        let lengths: Vec<_> = lengths.iter().map(String::len).collect();
        assert_eq!(lengths, [1 + MAX_BYTES, 2]);
    }
}
