//! A request as it leaves.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, header};
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::upstream::sending::Sending;

/// What is still to be sent of a request.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    head: Bytes,
    /// Of the body, taken from the rest.
    piece: Bytes,
    rest: Option<Sending>,
    /// Whether any of it has left.
    pub has_begun: bool,
}

impl Outgoing {
    /// A request to `host`, whose URI is a path, with the length of its body where it has one.
    pub(super) fn new(request: &Request<Sending>, host: &HeaderValue) -> Self {
        Self {
            head: head(request, host).into(),
            piece: Bytes::new(),
            rest: Some(request.body().clone()),
            has_begun: false,
        }
    }

    /// True when all has left.
    pub(super) fn is_over(&self) -> bool {
        self.head.is_empty() && self.piece.is_empty() && self.rest.is_none()
    }

    /// Nothing more of it is to be sent.
    pub(super) fn give_up(&mut self) {
        let has_begun = self.has_begun;
        *self = Self {
            has_begun,
            ..Self::default()
        };
    }

    /// Sends on; ready when all has left.
    ///
    /// # Errors
    /// Those of `io`, and one when it takes no more.
    pub(super) fn poll_send<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = &mut self.rest {
            if self.piece.is_empty() {
                match Pin::new(rest).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        self.piece = frame.into_data().unwrap_or_default()
                    }
                    Poll::Ready(None) if self.head.is_empty() => {
                        ready!(Pin::new(&mut *io).poll_flush(cx))?;
                        self.rest = None;
                        break;
                    }
                    Poll::Ready(_) => {}
                    Poll::Pending => {
                        ready!(Pin::new(&mut *io).poll_flush(cx))?;
                        return Poll::Pending;
                    }
                }
            }
            let slices = [IoSlice::new(&self.head), IoSlice::new(&self.piece)];
            let mut length = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_begun = true;
            let of_head = length.min(self.head.len());
            self.head.advance(of_head);
            length -= of_head;
            self.piece.advance(length);
        }
        Poll::Ready(Ok(()))
    }
}

/// The head (RFC 9112, 3). Names and values hold no line ends, by their types.
fn head(request: &Request<Sending>, host: &HeaderValue) -> Vec<u8> {
    const LINE: usize = 4; // what stands around a name and its value
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let lines = request.headers().iter();
    let lines: usize = lines
        .map(|(name, value)| name.as_str().len() + value.len() + LINE)
        .sum();
    let mut head = Vec::with_capacity(lines + path.len() + host.len() + 100);
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            head.extend_from_slice(part);
        }
    };
    line(header::HOST.as_str(), host.as_bytes());
    for (name, value) in request.headers() {
        line(name.as_str(), value.as_bytes());
    }
    let length = request.body().len();
    if length > 0 {
        line(
            header::CONTENT_LENGTH.as_str(),
            length.to_string().as_bytes(),
        );
    }
    head.extend_from_slice(b"\r\n");
    head
}
