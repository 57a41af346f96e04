//! An HTTP/1.1 connection, driven by the request that has it: its head and body are written, then the answer is read.
//!
//! Heads and the sizes of chunks are httparse's to read; what is between is ours. hyper's client hands every chunk of a body on by
//! itself, through a channel and a waker, some 1,900 instructions each, and who relays it looks at it, gathers it and writes it by
//! itself again. Here the chunks of one read are one piece: a stream of 52 events takes a sixth less processor time, and its first
//! bytes, when they come in a burst, two thirds of the time.

mod answer;
mod chunks;
mod framing;
mod head;
mod reader;
mod request;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, ReadBuf},
    task::unconstrained,
};

use self::request::Outgoing;
use super::{CLOSED, Origin, RESET, SendError, idle::IdleConnections, open::Io};
use crate::upstream::wire::{BufferedBody, RequestBody, UpstreamResponse};

pub use answer::ConnectionBody;
pub use head::{Malformed, ResponseHead};
pub use reader::AnswerReader;

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Connection {
    io: TokioIo<Io>,
    outgoing: Outgoing,
    reader: AnswerReader,
    /// Whether it can take another request behind this one.
    keeps: bool,
}

impl Connection {
    /// Over a stream of bytes.
    pub(super) fn over(io: Io) -> Box<Self> {
        Box::new(Self {
            io: TokioIo::new(io),
            outgoing: Outgoing::default(),
            reader: AnswerReader::default(),
            keeps: true,
        })
    }

    /// Sends the request. Once the whole response has arrived, the connection is put into `idle`.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: Box<Request<RequestBody>>,
        origin: &Origin,
        idle: Arc<IdleConnections>,
    ) -> Result<UpstreamResponse, SendError> {
        self.outgoing = Outgoing::new(&request, &origin.host);
        let method = request.method().clone();
        let mut unsent = Some(request);
        let asked = poll_fn(|cx| {
            let asked = self.poll_exchange(&method, cx);
            if self.outgoing.has_begun {
                unsent = None;
            }
            asked
        });
        match (asked.await, unsent) {
            (Ok(head), _) => {
                self.keeps &= head.keeps;
                let mut reply =
                    UpstreamResponse::new(BufferedBody::from(ConnectionBody::over(self, idle)));
                *reply.status_mut() = head.status;
                *reply.headers_mut() = head.headers;
                Ok(reply)
            }
            (Err(_), Some(request)) => Err(SendError::Unsent(request)),
            (Err(error), None) => Err(error),
        }
    }

    /// What has come is read before more is sent: a server may answer what it has not read, and then close.
    fn poll_exchange(
        &mut self,
        method: &Method,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, SendError>> {
        if self.outgoing.has_begun
            && let Poll::Ready(asked) = self.poll_head(method, cx)
        {
            return Poll::Ready(asked);
        }
        self.send_on(cx);
        match (self.outgoing.has_begun, self.outgoing.is_over()) {
            (true, _) => self.poll_head(method, cx),
            (false, true) => Poll::Ready(Err(SendError::Closed(CLOSED))),
            (false, false) => Poll::Pending, // what could be read now would be no answer
        }
    }

    fn poll_head(
        &mut self,
        method: &Method,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, SendError>> {
        loop {
            match self.reader.head(method) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(Malformed) if self.reader.has_seen_one_begin() => {
                    return Poll::Ready(Err(SendError::Malformed));
                }
                Err(Malformed) => {
                    return Poll::Ready(Err(SendError::Closed("what it sent is no HTTP answer")));
                }
            }
            match self.reader.poll_fill(&mut self.io, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(SendError::Closed(CLOSED))),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(SendError::Closed(RESET))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Sends what can be sent. Whether the server takes it no longer is seen by its answer.
    fn send_on(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(_)) = self.outgoing.poll_send(&mut self.io, cx) {
            self.outgoing.give_up();
            self.keeps = false;
        }
    }

    /// True when it can take a request; false when its server has closed it, or what it last carried has not come to its end.
    pub(super) fn is_free(&mut self) -> bool {
        let is_between =
            self.outgoing.is_over() && self.reader.is_over() && !self.reader.has_more();
        let mut byte = [0];
        let mut unasked = ReadBuf::new(&mut byte);
        // A task that has had its share of this turn would be told that there is nothing.
        let read = unconstrained(poll_fn(|cx| {
            Pin::new(&mut self.io).poll_read(cx, &mut unasked)
        }));
        let read = pin!(read).poll(&mut Context::from_waker(Waker::noop()));
        self.keeps && is_between && read.is_pending()
    }

    fn release(mut self: Box<Self>, idle: &IdleConnections) {
        if self.is_free() {
            self.reader = AnswerReader::default(); // and with it the room for what it reads
            idle.put(self);
        }
    }
}
