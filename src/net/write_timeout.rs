//! Ends connections whose client stops reading: the whole socket, or over HTTP/2 one stream.
//!
//! A timer runs only while bytes wait to be read. A client that reads costs nothing.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Measures how long a client has read nothing.
#[derive(Debug)]
struct StallTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// The client read something, or there is nothing to read.
    fn reset(&mut self) {
        self.timer = None;
    }

    /// Ready when the client has read nothing for the whole limit. The first call starts the timer.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx)
    }
}

/// A socket whose writes fail when the client reads nothing for too long. It lies below TLS, so that it limits the handshake too.
#[derive(Debug)]
pub struct WriteTimeoutStream<S> {
    inner: S,
    stall: StallTimer,
}

impl<S> WriteTimeoutStream<S> {
    /// Wraps `stream`. `limit`: how long a write may wait for room.
    pub fn new(limit: Duration, stream: S) -> Self {
        Self {
            inner: stream,
            stall: StallTimer::new(limit),
        }
    }

    fn check_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall.reset();
            return written;
        }
        ready!(self.stall.poll_expired(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client took nothing within server.write_idle_ms",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.check_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.check_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx) // a socket buffers nothing
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

thread_local! {
    /// The progress of the HTTP/2 stream that is being polled on this thread.
    static PROGRESS: Cell<Progress> = const { Cell::new(Progress::NotPolled) };
}

/// What one poll of an HTTP/2 stream got from its handler or response body.
#[derive(Debug, Clone, Copy)]
enum Progress {
    /// They were not polled: the client gives the stream no room.
    NotPolled,
    /// They had something to send.
    Ready,
    /// They had nothing to send yet.
    Pending,
}

/// Records the result of polling a handler or a response body, for the stream that polls it.
pub fn record_progress<T>(polled: Poll<T>) -> Poll<T> {
    PROGRESS.set(match polled {
        Poll::Ready(_) => Progress::Ready,
        Poll::Pending => Progress::Pending,
    });
    polled
}

/// Runs HTTP/2 streams, and resets one whose client reads nothing for too long.
#[derive(Debug, Clone, Copy)]
pub struct StreamExecutor {
    limit: Duration,
}

impl StreamExecutor {
    /// `limit`: how long a client may read nothing of a stream.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        tokio::spawn(run_until_stalled(stream, self.limit));
    }
}

/// Runs a stream to its end, or until its client has read nothing for `limit`.
async fn run_until_stalled(stream: impl Future<Output = ()>, limit: Duration) {
    let mut stream = pin!(stream);
    let mut stall = StallTimer::new(limit);
    poll_fn(|cx| {
        PROGRESS.set(Progress::NotPolled);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match PROGRESS.get() {
            Progress::NotPolled => {}
            Progress::Ready => stall.reset(), // the client made room for the piece before
            Progress::Pending => {
                stall.reset();
                return Poll::Pending;
            }
        }
        stall.poll_expired(cx)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_ends_the_write_and_one_that_reads_slowly_does_not() {
        let (near, mut far) = duplex(10);
        let mut socket = WriteTimeoutStream::new(LIMIT, near);
        let began = Instant::now();
        let reads = async {
            for _ in 0..20 {
                sleep(LIMIT - Duration::from_secs(1)).await;
                far.read_exact(&mut [0; 1]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(socket.write_all(&[0; 30]), reads);
        written.unwrap();
        assert!(began.elapsed() > 15 * LIMIT);
        let began = Instant::now();
        let error = socket.write_all(&[0; 30]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_read_slowly_and_steadily_continues() {
        let began = Instant::now();
        let stream = async {
            for _ in 0..20 {
                sleep(LIMIT - Duration::from_secs(1)).await; // the client gives no room
                let _ = record_progress(Poll::Ready(())); // and then takes one piece
            }
        };
        run_until_stalled(stream, LIMIT).await;
        assert!(began.elapsed() > 15 * LIMIT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_wait_for_its_handler_for_ever_and_for_its_client_only_so_long() {
        let began = Instant::now();
        let stream = async {
            let mut handler = pin!(sleep(100 * LIMIT));
            poll_fn(|cx| record_progress(handler.as_mut().poll(cx))).await;
            std::future::pending().await
        };
        run_until_stalled(stream, LIMIT).await;
        assert_eq!(began.elapsed(), 101 * LIMIT);
    }
}
