//! The body of a request to a model server. It is sent in pieces, and the connection is checked for an answer between two of them.
//!
//! A server that rejects a request may answer before it has read all of it, and close. A client that keeps writing then fails with
//! a write error and never reads the answer. vLLM does this for a wrong key and a prompt with images.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use tokio::task::yield_now;

use crate::api::BodyPieces;

/// Bytes that are written before the next check; one system call copies as much in about ten microseconds.
const PIECE_BYTES: usize = 64 << 10;

/// A request body of known length, so that it is sent with a `content-length`.
#[derive(Debug, Clone)]
pub struct RequestBody {
    /// What is still to be sent.
    rest: BodyPieces,
    /// The yield after the latest piece; `None` before the first and after the last piece.
    io_yield: Option<Arc<IoYield>>,
}

impl From<BodyPieces> for RequestBody {
    fn from(body: BodyPieces) -> Self {
        Self {
            rest: body,
            io_yield: None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(io_yield) = &self.io_yield {
            ready!(io_yield.poll_done(cx));
        }
        let piece = self.rest.take(PIECE_BYTES);
        self.io_yield = (!self.rest.is_empty()).then(IoYield::start);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Waits until the runtime has polled the system for I/O events once, so that an answer that arrived is seen. hyper polls a body
/// again without waiting to be woken, so a plain yield would not be enough.
#[derive(Debug, Default)]
struct IoYield {
    is_done: AtomicBool,
    waiter: AtomicWaker,
}

impl IoYield {
    fn start() -> Arc<Self> {
        let io_yield = Arc::new(Self::default());
        let waker = Waker::from(io_yield.clone());
        // The first poll of `yield_now` registers the waker, which the runtime wakes after it polled for I/O. That is all we need.
        let _ = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        io_yield
    }

    fn poll_done(&self, cx: &Context<'_>) -> Poll<()> {
        self.waiter.register(cx.waker());
        match self.is_done.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Wake for IoYield {
    fn wake(self: Arc<Self>) {
        self.is_done.store(true, Ordering::Release);
        self.waiter.wake();
    }
}
