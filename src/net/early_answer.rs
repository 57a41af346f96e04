//! Answers that the HTTP library makes itself, before there is a request: a head that is not HTTP, a path or headers that are too
//! long.
//!
//! hyper writes them without a body, last on their connection, and tells nobody. This stream stands between hyper and the
//! connection and writes an answer of ours instead.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::StatusCode;
use memchr::memmem;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::request_tracker::RequestTracker;

/// Makes a whole HTTP/1.1 answer with this status, and records it. It closes its connection.
pub type OwnAnswer = Arc<dyn Fn(StatusCode) -> Bytes + Send + Sync>;

/// The longest head that hyper writes for such an answer, in bytes, with room: a status line and three headers.
const MAX_HEAD: usize = 200;

/// What is read and discarded of a client that is still sending. Closing at once would reset the connection before the client
/// has read the answer.
const DISCARD_BYTES: usize = 64 << 20;
/// The longest time that is spent on that.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// A connection on which the library's own answers become ours.
pub struct EarlyAnswerStream<S> {
    inner: S,
    requests: Arc<RequestTracker>,
    make: OwnAnswer,
    own: Option<Own>,
}

/// Our answer, once it stands in for the library's.
struct Own {
    rest: Bytes,
    is_shut_down: bool,
    discarded: usize,
    timer: Pin<Box<Sleep>>,
}

impl<S> EarlyAnswerStream<S> {
    /// Wraps `inner`. `requests`: those of this connection; while one is served, nothing is replaced.
    pub fn new(inner: S, requests: Arc<RequestTracker>, make: OwnAnswer) -> Self {
        Self {
            inner,
            requests,
            make,
            own: None,
        }
    }

    /// Where the library's own answer begins in what it writes.
    fn find(&self, bytes: &[u8]) -> Option<(usize, StatusCode)> {
        if !bytes.ends_with(b"\r\n\r\n") || self.requests.is_active() {
            return None;
        }
        library_answer(bytes)
    }
}

impl<S: AsyncWrite + Unpin> EarlyAnswerStream<S> {
    /// Writes what is left of our answer.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(own) = self.own.as_mut().filter(|own| own.rest.has_remaining()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &own.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => own.rest.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn replace(&mut self, status: StatusCode, length: usize) -> Poll<io::Result<usize>> {
        self.own = Some(Own {
            rest: (self.make)(status),
            is_shut_down: false,
            discarded: 0,
            timer: Box::pin(sleep(DISCARD_TIME)),
        });
        Poll::Ready(Ok(length)) // ours is written with the flush that follows
    }
}

/// Where an answer that hyper made itself begins in `bytes`, at whose end it stands. Ours have an id and a body.
fn library_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    let from = bytes.len().saturating_sub(MAX_HEAD);
    let at = from + memmem::rfind(bytes.get(from..)?, b"HTTP/1.")?;
    let mut lines = std::str::from_utf8(bytes.get(at..)?).ok()?.split("\r\n");
    let status = lines.next()?.get(9..12)?.parse().ok()?;
    let status = StatusCode::from_u16(status).ok()?;
    let is_librarys = |line: &str| {
        matches!(line, "" | "content-length: 0" | "connection: close") || line.starts_with("date: ")
    };
    (matches!(status.as_u16(), 400 | 414 | 431) && lines.all(is_librarys)).then_some((at, status))
}

impl<S: AsyncRead + Unpin> AsyncRead for EarlyAnswerStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for EarlyAnswerStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let head = match self.find(bytes) {
            Some((0, status)) => return self.replace(status, bytes.len()),
            Some((at, _)) => bytes.get(..at).unwrap_or(bytes), // the answer before goes first
            None => bytes,
        };
        Pin::new(&mut self.inner).poll_write(cx, head)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let last = slices.iter().rposition(|slice| !slice.is_empty());
        let Some((before, last)) =
            last.and_then(|last| Some((slices.get(..last)?, slices.get(last)?)))
        else {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        };
        let is_alone = before.iter().all(|slice| slice.is_empty());
        match self.find(last) {
            Some(_) if is_alone => self.poll_write(cx, last),
            Some(_) => Pin::new(&mut self.inner).poll_write_vectored(cx, before),
            None => Pin::new(&mut self.inner).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        let this = &mut *self;
        let Some(own) = &mut this.own else {
            return Pin::new(&mut this.inner).poll_shutdown(cx);
        };
        if !own.is_shut_down {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            own.is_shut_down = true;
        }
        let mut piece = [0; 8 << 10];
        while own.timer.as_mut().poll(cx).is_pending() && own.discarded < DISCARD_BYTES {
            let mut buffer = ReadBuf::new(&mut piece);
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            own.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const BARE: &str = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: Tue, 01 Dec 2026 04:36:47 GMT\r\n\r\n";

    #[test]
    fn only_an_answer_of_the_library_is_taken_for_one() {
        assert_eq!(
            library_answer(BARE.as_bytes()).unwrap(),
            (0, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        );
        let behind_another = format!("HTTP/1.1 200 OK\r\nx: y\r\n\r\nbody{BARE}");
        assert_eq!(library_answer(behind_another.as_bytes()).unwrap().0, 29);
        for ours in [
            "HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ] {
            assert_eq!(library_answer(ours.as_bytes()), None, "{ours}");
        }
    }

    #[tokio::test]
    async fn a_client_that_still_sends_gets_our_answer_behind_the_one_before() {
        let (near, mut far) = duplex(64);
        let make: OwnAnswer = Arc::new(|status| format!("ours {}", status.as_u16()).into());
        let mut stream = EarlyAnswerStream::new(near, Arc::default(), make);
        let writes = async {
            stream
                .write_all(format!("before {BARE}").as_bytes())
                .await
                .unwrap();
            stream.shutdown().await.unwrap();
        };
        let reads = async {
            far.write_all(&[0; 1000]).await.unwrap();
            let mut all = String::new();
            far.read_to_string(&mut all).await.unwrap();
            drop(far);
            all
        };
        let ((), all) = tokio::join!(writes, reads);
        assert_eq!(all, "before ours 431");
    }
}
