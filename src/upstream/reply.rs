//! A model server's answer as its connection gives it, of which the beginning may have been read already.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::wire::Driven;

/// A model server's answer.
pub type Reply = Response<Unread>;

/// A body of which the beginning may have been read.
#[derive(Debug)]
pub struct Unread {
    read: VecDeque<Frame<Bytes>>,
    /// What was not; `None` when all was.
    rest: Option<Rest>,
}

/// What a connection still brings.
#[derive(Debug)]
enum Rest {
    /// One that is driven by asking for it.
    Driven(Driven),
    /// One that a task drives.
    Sent(Incoming),
}

impl Unread {
    /// The same again, behind what was read of it. `rest`: what was not.
    pub fn again(read: VecDeque<Frame<Bytes>>, rest: Option<Self>) -> Self {
        let rest = rest.and_then(|unread| unread.rest);
        Self { read, rest }
    }
}

impl From<Rest> for Unread {
    /// One of which nothing was read.
    fn from(body: Rest) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(body),
        }
    }
}

impl From<Driven> for Unread {
    fn from(body: Driven) -> Self {
        Rest::Driven(body).into()
    }
}

impl From<Incoming> for Unread {
    fn from(body: Incoming) -> Self {
        Rest::Sent(body).into()
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(Rest::Driven(rest)) => Pin::new(rest).poll_frame(cx),
            Some(Rest::Sent(rest)) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Rest::is_end)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let read: u64 = read.map(|data| data.len() as u64).sum();
        let none = || SizeHint::with_exact(0);
        let rest = self.rest.as_ref().map_or_else(none, Rest::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}

impl Rest {
    fn is_end(&self) -> bool {
        match self {
            Self::Driven(body) => body.is_end_stream(),
            Self::Sent(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Driven(body) => body.size_hint(),
            Self::Sent(body) => body.size_hint(),
        }
    }
}
