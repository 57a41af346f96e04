//! The request's body on its way to a model server: in pieces, with a look at the connection between two of them.
//!
//! A server that refuses a request may answer before it has read it, and close: what is then still written fails, and a client
//! that writes without looking never reads the answer. vLLM does so with a wrong key, in front of a prompt with images.

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

/// Bytes written between two looks; one system call copies as much in some ten microseconds.
const PIECE: usize = 64 << 10;

/// What of a body is still to be sent. Its length is known, so that it is sent with a `content-length`.
#[derive(Debug, Clone)]
pub struct Sending {
    rest: Bytes,
    /// The look since the last piece; `None` before the first.
    look: Option<Arc<Look>>,
}

impl From<Bytes> for Sending {
    fn from(bytes: Bytes) -> Self {
        Self {
            rest: bytes,
            look: None,
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(look) = &self.look {
            ready!(look.poll_taken(cx));
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.look = (!self.rest.is_empty()).then(Look::begin);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Taken once the runtime has asked the system what arrived. Polled again before that, as the client does, it is not yet.
#[derive(Debug, Default)]
struct Look {
    is_taken: AtomicBool,
    sender: AtomicWaker,
}

impl Look {
    fn begin() -> Arc<Self> {
        let look = Arc::new(Self::default());
        let waker = Waker::from(look.clone());
        // Yielding is waking after the runtime has looked; the future itself is of no more use.
        let _ = pin!(yield_now()).poll(&mut Context::from_waker(&waker));
        look
    }

    fn poll_taken(&self, cx: &Context<'_>) -> Poll<()> {
        self.sender.register(cx.waker());
        match self.is_taken.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.is_taken.store(true, Ordering::Release);
        self.sender.wake();
    }
}
