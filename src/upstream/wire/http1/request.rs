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

use crate::upstream::wire::RequestBody;

/// What is still to be sent of a request.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    head: Bytes,
    /// Of the body, taken from the rest.
    piece: Bytes,
    /// What was not taken yet; `None` once all has left.
    rest: Option<RequestBody>,
    /// Whether any of it has left.
    pub has_begun: bool,
}

impl Outgoing {
    /// A request to `host`, whose URI is a path, with the length of its body where it has one.
    pub(super) fn new(request: &Request<RequestBody>, host: &HeaderValue) -> Self {
        Self {
            head: head(request, host).into(),
            piece: Bytes::new(),
            rest: Some(request.body().clone()),
            has_begun: false,
        }
    }

    /// True when nothing more of it is to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.rest.is_none()
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
                        self.give_up(); // what was sent would be kept as long as the answer takes
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
fn head(request: &Request<RequestBody>, host: &HeaderValue) -> Vec<u8> {
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
    let length = request.body().size_hint().lower(); // it is exact
    if length > 0 {
        line(
            header::CONTENT_LENGTH.as_str(),
            length.to_string().as_bytes(),
        );
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{Arc, Weak},
    };

    use futures_util::FutureExt;
    use http::Method;

    use super::*;

    /// Bytes whose last use can be seen.
    struct Watched(Arc<[u8]>);

    impl AsRef<[u8]> for Watched {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    fn request(body: Bytes) -> (Request<RequestBody>, HeaderValue) {
        let mut request = Request::new(RequestBody::from(crate::api::BodyPieces::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/v1/x?y=%20".parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        (request, HeaderValue::from_static("host:1"))
    }

    fn sent(outgoing: &mut Outgoing) -> String {
        let mut io = Vec::new();
        let sends = poll_fn(|cx| outgoing.poll_send(&mut io, cx));
        sends.now_or_never().unwrap().unwrap();
        String::from_utf8(io).unwrap()
    }

    #[test]
    fn a_request_is_written_with_the_length_of_its_body() {
        let head = "POST /v1/x?y=%20 HTTP/1.1\r\nhost: host:1\r\nx-a: 1\r\nx-a: 2\r\n";
        for (body, behind) in [("", "\r\n"), ("abc", "content-length: 3\r\n\r\nabc")] {
            let (request, host) = request(body.into());
            let mut outgoing = Outgoing::new(&request, &host);
            assert!(!outgoing.is_over());
            assert_eq!(sent(&mut outgoing), format!("{head}{behind}"));
            assert!(outgoing.is_over() && outgoing.has_begun);
        }
    }

    /// An answer to a prompt with images may stream for minutes.
    #[test]
    fn what_was_sent_is_let_go_before_the_answer_comes() {
        let body: Arc<[u8]> = vec![b'x'; 100].into();
        let watched: Weak<[u8]> = Arc::downgrade(&body);
        let (request, host) = request(Bytes::from_owner(Watched(body)));
        let mut outgoing = Outgoing::new(&request, &host);
        drop(request);
        sent(&mut outgoing);
        assert!(watched.upgrade().is_none());
    }
}
