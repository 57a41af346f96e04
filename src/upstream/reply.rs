//! A model server's answer as its connection gives it, of which the beginning may have been read already.

use std::{
    collections::VecDeque,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;

use super::wire::Driven;

/// A model server's answer.
pub type Reply = Response<Unread>;

/// A body of which the beginning may have been read.
#[derive(Debug)]
pub struct Unread {
    read: VecDeque<Frame<Bytes>>,
    /// What was not; `None` when all was.
    rest: Option<Either<Driven, Incoming>>,
}

impl Unread {
    /// The same again, behind what was read of it. `rest`: what was not.
    pub fn again(read: VecDeque<Frame<Bytes>>, rest: Option<Self>) -> Self {
        let rest = rest.and_then(|unread| unread.rest);
        Self { read, rest }
    }
}

impl From<Driven> for Unread {
    /// One of which nothing was read.
    fn from(body: Driven) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(Either::Left(body)),
        }
    }
}

impl From<Incoming> for Unread {
    /// The same of one that a task drives.
    fn from(body: Incoming) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(Either::Right(body)),
        }
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let read: u64 = read.map(|data| data.len() as u64).sum();
        let none = || SizeHint::with_exact(0);
        let rest = self.rest.as_ref().map_or_else(none, Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}
