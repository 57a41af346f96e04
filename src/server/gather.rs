//! What arrives together leaves together: one write to the client for all pieces that are there, instead of one a piece.
//!
//! A burst of events comes from the connection to the model server one by one, each on the next turn of its task. After a piece
//! this body lets the other tasks of its thread take their turns, and asks again; when a turn brings nothing more, all
//! goes on. No timer: a piece that comes alone waits for one turn of the thread, some microseconds.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

/// Gathered at most, in bytes: a client that is slower than the server is not read ahead for.
const MOST: usize = 64 << 10;

/// A body whose pieces are gathered.
pub struct Gather<B: Body> {
    inner: B,
    held: Held,
    /// True when the other tasks had their turn since the last piece.
    gave_way: bool,
    /// What came behind the pieces that are held.
    next: Option<Option<Result<Frame<Bytes>, B::Error>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Gather<B> {
    /// Gathers the pieces of `inner`.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            held: Held::default(),
            gave_way: false,
            next: None,
        }
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
        if let Some(next) = this.next.take() {
            return Poll::Ready(next);
        }
        loop {
            let polled = Pin::new(&mut this.inner).poll_frame(cx);
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        this.held.push(data);
                        this.gave_way = false;
                        if this.held.length >= MOST || this.inner.is_end_stream() {
                            break;
                        }
                    }
                    Err(trailers) => {
                        this.next = Some(Some(Ok(trailers)));
                        break;
                    }
                },
                Poll::Ready(end) => {
                    this.next = Some(end);
                    break;
                }
                Poll::Pending if this.held.length == 0 => return Poll::Pending,
                Poll::Pending if this.gave_way => break,
                Poll::Pending => {
                    this.gave_way = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        match this.held.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Ready(this.next.take().flatten()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.length == 0 && self.next.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint() // asked before the first piece, when nothing is held
    }
}

/// Pieces that go on together; one alone is not copied.
#[derive(Debug, Default)]
struct Held {
    first: Bytes,
    all: BytesMut,
    length: usize,
}

impl Held {
    fn push(&mut self, data: Bytes) {
        if self.length == 0 {
            self.first = data.clone();
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(&data);
        }
        self.length += data.len();
    }

    fn take(&mut self) -> Option<Bytes> {
        let is_one = self.all.is_empty();
        let first = std::mem::take(&mut self.first);
        match std::mem::take(&mut self.length) {
            0 => None,
            _ if is_one => Some(first),
            _ => Some(self.all.split().freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use futures_util::task::noop_waker;
    use http_body_util::BodyExt;

    use super::*;

    /// Gives one piece a turn, as a connection's task does; `None` is a turn without any.
    struct Turns(VecDeque<Option<&'static str>>);

    impl Body for Turns {
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

    async fn pieces(turns: &[Option<&'static str>]) -> Vec<String> {
        let mut body = Gather::new(Turns(turns.iter().copied().collect()));
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            pieces.push(String::from_utf8(data.to_vec()).unwrap());
        }
        pieces
    }

    #[tokio::test]
    async fn a_burst_leaves_in_one_piece_and_what_comes_later_in_another() {
        let burst = [Some("a"), None, Some("b"), None, Some("c"), None, None];
        let later = [Some("d"), None, None, None, Some("e")];
        let turns: Vec<_> = burst.into_iter().chain(later).collect();
        assert_eq!(pieces(&turns).await, ["abc", "d", "e"]);
        assert!(pieces(&[]).await.is_empty());
        assert!(pieces(&[None, None]).await.is_empty());
    }

    #[test]
    fn a_piece_that_comes_alone_waits_for_one_turn() {
        let mut body = Gather::new(Turns([Some("a"), None, None, None].into_iter().collect()));
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        let polled = Pin::new(&mut body).poll_frame(&mut cx);
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
    }
}
