//! A model server's response, whose body may have been read in part.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::gather::{Gather, longer_by};

/// A model server's response.
pub type UpstreamResponse = Response<BufferedBody>;

/// A response body, whose first frames may have been read and are replayed.
#[derive(Debug)]
pub struct BufferedBody {
    read: VecDeque<Frame<Bytes>>,
    /// What was not read yet; `None` if all was read.
    rest: Option<Gather<reqwest::Body>>,
}

impl BufferedBody {
    /// Replays the frames that were `read`, then the `rest`.
    pub fn with_prefix(read: VecDeque<Frame<Bytes>>, rest: Option<Self>) -> Self {
        let rest = rest.and_then(|body| body.rest);
        Self { read, rest }
    }
}

impl From<reqwest::Body> for BufferedBody {
    /// A body of which nothing was read.
    fn from(body: reqwest::Body) -> Self {
        Self {
            read: VecDeque::new(),
            rest: Some(Gather::new(body)),
        }
    }
}

impl Body for BufferedBody {
    type Data = Bytes;
    type Error = reqwest::Error;

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
        longer_by(read, &self.rest.as_ref().map_or_else(none, Body::size_hint))
    }
}
