//! What arrives together leaves together: one write to the client for all pieces that are there, instead of one a piece.
//!
//! A burst of events comes from the connection to the model server one by one, each on the next turn of its task. After a piece
//! this body lets the other tasks of its thread take their turns, and asks again; when a turn brings nothing more, all
//! goes on. No timer: a piece that comes alone waits for a turn or two of the thread, some microseconds. The first piece waits for
//! nothing: it is what the client waits for.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::upstream::Relay;

/// Gathered at most, in bytes: a client that is slower than the server is not read ahead for.
const MOST: usize = 64 << 10;
/// Questions in vain after which no other piece is on its way. The first one, or two, are asked in the same turn: over HTTP/1.1
/// a body that has nothing is asked a second time after what was written is flushed (hyper 1.12), before anybody else runs.
const IN_VAIN: u8 = 3;

/// A body whose pieces are gathered.
pub struct Gather<B: Body> {
    inner: B,
    held: Held,
    /// How often there was nothing since the last piece.
    in_vain: u8,
    /// What came first, or behind the pieces that are held.
    next: Option<Option<Result<Frame<Bytes>, B::Error>>>,
}

/// An answer whose head leaves with the beginning of its body, if that came with it.
pub async fn gathered(response: Response<Relay>) -> Response<axum::body::Body> {
    let (head, body) = response.into_parts();
    let body = Gather::begun(body).await;
    Response::from_parts(head, axum::body::Body::new(body))
}

impl<B: Body<Data = Bytes> + Unpin> Gather<B> {
    fn new(inner: B) -> Self {
        Self {
            inner,
            held: Held::default(),
            in_vain: 0,
            next: None,
        }
    }

    /// Gathers the pieces of `inner`, the first of which may be there already.
    async fn begun(inner: B) -> Self {
        let mut gather = Self::new(inner);
        poll_fn(|cx| gather.poll_first(cx)).await;
        gather
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(first) => self.next = Some(first),
            Poll::Pending => ready!(self.poll_gives_way(cx)),
        }
        self.in_vain = 0;
        Poll::Ready(())
    }

    /// Lets the other tasks have their turn; ready when they had it, and brought nothing.
    fn poll_gives_way(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.in_vain += 1;
        if self.in_vain == IN_VAIN {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref(); // behind the tasks that are to run already
        Poll::Pending
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Gather<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(next) = this.next.take() {
            return Poll::Ready(next);
        }
        loop {
            let polled = Pin::new(&mut this.inner).poll_frame(cx);
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        this.held.push(data);
                        this.in_vain = 0;
                        if this.held.length >= MOST || this.inner.is_end_stream() {
                            break;
                        }
                    }
                    Err(trailers) => {
                        this.next = Some(Some(Ok(trailers)));
                        break;
                    }
                },
                Poll::Ready(end) => {
                    this.next = Some(end);
                    break;
                }
                Poll::Pending if this.held.length == 0 => return Poll::Pending,
                Poll::Pending => {
                    ready!(this.poll_gives_way(cx));
                    break;
                }
            }
        }
        match this.held.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Poll::Ready(this.next.take().flatten()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.length == 0
            && match &self.next {
                None => self.inner.is_end_stream(),
                Some(next) => next.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let next = match &self.next {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        let (rest, held) = (self.inner.size_hint(), (self.held.length + next) as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + held);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

/// Pieces that go on together; one alone is not copied.
#[derive(Debug, Default)]
struct Held {
    first: Bytes,
    all: BytesMut,
    length: usize,
}

impl Held {
    fn push(&mut self, data: Bytes) {
        if self.length == 0 {
            self.first = data.clone();
        } else {
            if self.all.is_empty() {
                self.all.extend_from_slice(&self.first);
            }
            self.all.extend_from_slice(&data);
        }
        self.length += data.len();
    }

    fn take(&mut self) -> Option<Bytes> {
        let is_one = self.all.is_empty();
        let first = std::mem::take(&mut self.first);
        match std::mem::take(&mut self.length) {
            0 => None,
            _ if is_one => Some(first),
            _ => Some(self.all.split().freeze()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        convert::Infallible,
        io,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use futures_util::task::noop_waker;
    use http::Request;
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

    use super::*;

    /// Gives one piece a turn, as a connection's task does; `None` is a turn without any.
    struct Turns(VecDeque<Option<&'static str>>);

    impl Body for Turns {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Some(text)) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
            }
        }
    }

    fn turns(turns: &[Option<&'static str>]) -> Turns {
        Turns(turns.iter().copied().collect())
    }

    async fn pieces(mut body: Gather<Turns>) -> Vec<String> {
        let mut pieces = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            pieces.push(String::from_utf8(data.to_vec()).unwrap());
        }
        pieces
    }

    #[tokio::test]
    async fn a_burst_leaves_in_one_piece_and_what_comes_later_in_another() {
        let burst = [Some("a"), None, Some("b"), None, None, Some("c")];
        let later = [Some("d"), None, None, None, Some("e")];
        let both: Vec<_> = burst.into_iter().chain([None; 3]).chain(later).collect();
        let gathered = async |said: &[_]| pieces(Gather::new(turns(said))).await;
        assert_eq!(gathered(&both).await, ["abc", "d", "e"]);
        assert!(gathered(&[]).await.is_empty());
        assert!(gathered(&[None, None]).await.is_empty());
    }

    #[tokio::test]
    async fn the_first_piece_of_a_burst_does_not_wait_for_the_others() {
        let burst = [None, Some("a"), Some("b"), None, Some("c")];
        let body = Gather::begun(turns(&burst)).await;
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().lower(), 1, "the first one is there");
        assert_eq!(pieces(body).await, ["a", "bc"]);
    }

    #[test]
    fn a_piece_that_comes_alone_waits_for_a_turn_or_two() {
        let mut body = Gather::new(turns(&[Some("a"), None, None, None, None]));
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        for _ in 1..IN_VAIN {
            assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        }
        let polled = Pin::new(&mut body).poll_frame(&mut cx);
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
    }

    /// Counts the writes of a connection.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    /// A client's connection to a server whose answers are `burst` of a connection to another server, as in the gateway.
    #[tokio::test]
    async fn fifty_events_that_came_in_one_packet_leave_in_a_few_writes() {
        let (near, mut server) = tokio::io::duplex(64 << 10);
        let mut answer = String::from("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        answer += &"9\r\ndata: x\n\n\r\n".repeat(50);
        answer += "0\r\n\r\n";
        tokio::spawn(async move {
            server.read_buf(&mut BytesMut::new()).await.unwrap();
            server.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await; // it stays open
        });
        let (mut sender, upstream) = hyper::client::conn::http1::handshake(TokioIo::new(near))
            .await
            .unwrap();
        tokio::spawn(upstream);
        let response = sender
            .send_request(Request::new(Empty::<Bytes>::new()))
            .await
            .unwrap();
        let body = Gather::begun(response.into_body()).await;
        let body = std::sync::Mutex::new(Some(body));

        let (mut client, door) = tokio::io::duplex(64 << 10);
        let writes = Arc::new(AtomicUsize::new(0));
        let answers = hyper::service::service_fn(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let counted = TokioIo::new(Counted(door, writes.clone()));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(counted, answers),
        );
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut heard = String::new();
        client.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard.matches("data: x").count(), 50);
        let writes = writes.load(Ordering::Relaxed);
        assert!(writes <= 3, "{writes} writes");
    }
}
