//! A model server's response, whose body may have been read in part.

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

use super::ConnectionBody;

/// A model server's response.
pub type UpstreamResponse = Response<BufferedBody>;

/// A response body, whose first frames may have been read and are replayed.
#[derive(Debug)]
pub struct BufferedBody {
    read: VecDeque<Frame<Bytes>>,
    /// What was not read yet; `None` if all was read.
    rest: Option<Either<ConnectionBody, Incoming>>,
}

impl BufferedBody {
    /// Replays the frames that were `read`, then the `rest`.
    pub fn with_prefix(read: VecDeque<Frame<Bytes>>, rest: Option<Self>) -> Self {
        let rest = rest.and_then(|body| body.rest);
        Self { read, rest }
    }

    fn unread(rest: Either<ConnectionBody, Incoming>) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(rest),
        }
    }
}

impl From<ConnectionBody> for BufferedBody {
    /// An unread body over HTTP/1.1.
    fn from(body: ConnectionBody) -> Self {
        Self::unread(Either::Left(body))
    }
}

impl From<Incoming> for BufferedBody {
    /// An unread body over HTTP/2.
    fn from(body: Incoming) -> Self {
        Self::unread(Either::Right(body))
    }
}

impl Body for BufferedBody {
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
