//! Clients that stop reading: a limit on how long one may take nothing, of its socket or, over HTTP/2, of one of its answers.
//!
//! A timer runs only while something waits to be taken; who reads pays nothing.

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

/// How long something waits to be taken.
#[derive(Debug)]
struct StallTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Some of it was taken, or nothing waits.
    fn reset(&mut self) {
        self.timer = None;
    }

    /// It waits; ready when it has for too long.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx)
    }
}

/// A socket that fails when its peer takes nothing for too long. Below TLS, so that a handshake is held to it too.
#[derive(Debug)]
pub struct WriteTimeoutStream<S> {
    inner: S,
    stall: StallTimer,
}

impl<S> WriteTimeoutStream<S> {
    /// `stream`, of which something has to be taken within `limit` once it is full.
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
        Pin::new(&mut self.inner).poll_flush(cx) // a socket holds nothing back
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

thread_local! {
    /// What the stream that is polled heard last of its answer.
    static PROGRESS: Cell<Progress> = const { Cell::new(Progress::NotPolled) };
}

/// What a stream of HTTP/2 hears of its answer, or the answer's body, in one turn.
#[derive(Debug, Clone, Copy)]
enum Progress {
    /// It did not ask: its client gives no room.
    NotPolled,
    /// It got a piece.
    Ready,
    /// There is none yet.
    Pending,
}

/// Notes what an answer, or its body, says to the stream that asks.
pub fn record_progress<T>(polled: Poll<T>) -> Poll<T> {
    PROGRESS.set(match polled {
        Poll::Ready(_) => Progress::Ready,
        Poll::Pending => Progress::Pending,
    });
    polled
}

/// Runs the streams of HTTP/2, each until its client takes nothing of it for too long; then it is reset.
#[derive(Debug, Clone, Copy)]
pub struct StreamExecutor {
    limit: Duration,
}

impl StreamExecutor {
    /// StreamExecutor of which something has to be taken within `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        tokio::spawn(run_until_stalled(stream, self.limit));
    }
}

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
            Progress::Ready => stall.reset(), // there was room for the one before
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
    async fn a_peer_that_takes_nothing_ends_the_write_and_one_that_takes_little_does_not() {
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
    async fn a_stream_that_is_read_slowly_and_steadily_goes_on() {
        let began = Instant::now();
        let read = async {
            for _ in 0..20 {
                sleep(LIMIT - Duration::from_secs(1)).await; // the client gives no room
                let _ = record_progress(Poll::Ready(())); // and takes another piece, which is there already
            }
        };
        run_until_stalled(read, LIMIT).await;
        assert!(began.elapsed() > 15 * LIMIT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_wait_for_us_for_ever_and_for_its_client_only_so_long() {
        let began = Instant::now();
        let ours = async {
            let mut thinks = pin!(sleep(100 * LIMIT));
            poll_fn(|cx| record_progress(thinks.as_mut().poll(cx))).await;
            std::future::pending().await
        };
        run_until_stalled(ours, LIMIT).await;
        assert_eq!(began.elapsed(), 101 * LIMIT);
    }
}
