//! The answer's body: the model server's bytes as they come, with a limit on every wait and exactly one end.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Client, Endpoint, endpoint::InFlight, headers, reply::Unread};
use crate::{
    api::{JsonUsage, SseScanner},
    error::{Error, Limit},
    pipeline::Place,
    telemetry::{Outcome, Record},
};

/// What is read of a body while it passes.
#[derive(Debug)]
pub enum Look {
    /// A stream of events, whose end we may have to write.
    Sse(Box<SseScanner>),
    /// A plain answer, for its token counts.
    Json(JsonUsage),
    /// Nothing.
    Away,
}

impl Look {
    /// How to look at an answer with these headers.
    pub fn at(headers: &HeaderMap, looked_at: bool) -> Self {
        let is = |media| headers::is_media(headers, media);
        // With a length the end is the server's to write; what is compressed cannot be read.
        let framed = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::CONTENT_ENCODING);
        match () {
            () if is("text/event-stream") && !framed => Self::Sse(Box::default()),
            () if is("application/json") && looked_at => Self::Json(JsonUsage::default()),
            () => Self::Away,
        }
    }

    /// True for a stream of events.
    pub fn is_sse(&self) -> bool {
        matches!(self, Self::Sse(_))
    }
}

/// A body on its way from a model server to a client. Dropping it closes the request to the server and writes the record.
#[derive(Debug)]
pub struct Relay {
    /// The server's body; `None` once it ended or failed.
    inner: Option<Unread>,
    look: Look,
    wait: Wait,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    record: Box<Record>,
    attempt: Answered,
    place: Option<Place>,
}

/// The attempt that was answered.
#[derive(Debug)]
pub(super) struct Answered {
    /// The request, running at its endpoint.
    pub running: InFlight,
    /// When it was sent.
    pub sent: std::time::Instant,
    /// True when the server answered only without our switch.
    pub refused: bool,
}

/// The limit on the current wait for the server. The timer is moved only when it fires early, not with every piece; while a
/// slow client keeps us from asking for more, no time passes.
#[derive(Debug)]
struct Wait {
    timer: Pin<Box<Sleep>>,
    since: Option<Instant>,
    limit: Duration,
    setting: Limit,
    idle: Duration,
}

impl Relay {
    /// Relays `inner`, whose headers came just now.
    pub(super) fn new(
        inner: Unread,
        look: Look,
        client: &Client,
        record: Box<Record>,
        attempt: Answered,
    ) -> Self {
        let limits = client.limits;
        let wait = Wait {
            timer: Box::pin(sleep(limits.first_chunk)),
            since: Some(Instant::now()),
            limit: limits.first_chunk,
            setting: Limit::FirstChunk,
            idle: limits.idle,
        };
        Self {
            inner: Some(inner),
            look,
            wait,
            cut: Box::pin(client.cut_here().clone().cancelled_owned()),
            record,
            attempt,
            place: None,
        }
    }

    /// What is recorded of this request.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// True when the server answered only without our switch.
    pub fn refused(&self) -> bool {
        self.attempt.refused
    }

    /// The endpoint that answers.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.attempt.running.endpoint()
    }

    /// Keeps the place among the requests in flight until the body is dropped.
    pub fn hold(&mut self, place: Place) {
        self.place = Some(place);
    }

    fn passes(&mut self, data: &Bytes) {
        self.wait.rearm();
        let sent = self.attempt.sent;
        if self.record.first_chunk_s.is_none() {
            self.record.first_chunk_s = Some(sent.elapsed().as_secs_f64());
            self.endpoint().begins(sent);
        }
        self.record.bytes_out += data.len() as u64;
        match &mut self.look {
            Look::Sse(scanner) => scanner.scan(data),
            Look::Json(usage) => usage.scan(data),
            Look::Away => {}
        }
    }

    fn ends(&mut self) {
        self.inner = None;
        self.endpoint().answered(self.attempt.sent);
        self.record.outcome = Outcome::Complete;
        self.note_usage();
    }

    /// True once a stream has all that a client waits for; many leave then, before its framing ends.
    fn is_terminated(&self) -> bool {
        matches!(&self.look, Look::Sse(scanner) if scanner.is_terminated())
    }

    fn note_usage(&mut self) {
        match &mut self.look {
            Look::Sse(scanner) => self.record.usage = scanner.usage(),
            Look::Json(usage) => self.record.usage = usage.finish(),
            Look::Away => {}
        }
    }

    /// The last thing a client hears of a body that failed: an event where events are spoken, else an aborted body.
    fn fails(&mut self, error: &Error) -> Option<Result<Frame<Bytes>, io::Error>> {
        self.inner = None;
        match error {
            Error::Stopping => {}
            _ if self.is_terminated() => self.endpoint().answered(self.attempt.sent),
            _ => self.endpoint().failed(self.attempt.sent),
        }
        self.record.fail(error);
        let Look::Sse(scanner) = &self.look else {
            return Some(Err(io::Error::other(error.to_string())));
        };
        self.record.usage = scanner.usage();
        if scanner.is_terminated() {
            return None;
        }
        let blank = if scanner.at_boundary() { "" } else { "\n\n" };
        Some(Ok(Frame::data(
            format!("{blank}{}", error.sse_event()).into(),
        )))
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        match Pin::new(inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.passes(data);
                }
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(headers::for_client(trailers)),
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(None) => {
                this.ends();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(this.fails(&Error::Reset)),
            Poll::Pending => {
                let error = match this.cut.as_mut().poll(cx) {
                    Poll::Ready(()) => Error::Stopping,
                    Poll::Pending => ready!(this.wait.poll_over(cx)),
                };
                Poll::Ready(this.fails(&error))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // A failed stream may grow by an event of ours.
        match (&self.inner, self.look.is_sse()) {
            (Some(inner), false) => inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A body with a length is dropped as soon as its last byte is written, before it can say that it ended.
        if self.inner.as_ref().is_some_and(Body::is_end_stream) {
            self.ends();
        } else if self.record.outcome == Outcome::ClientGone {
            self.note_usage();
            if self.is_terminated() {
                self.endpoint().answered(self.attempt.sent);
            }
        }
    }
}

impl Wait {
    fn rearm(&mut self) {
        self.since = None;
        (self.limit, self.setting) = (self.idle, Limit::Idle);
    }

    /// Ready when nothing came for as long as the limit.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let ends = *self.since.get_or_insert_with(Instant::now) + self.limit;
        if self.timer.deadline() > ends {
            self.timer.as_mut().reset(ends); // the first wait may be longer than the others
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= ends {
                return Poll::Ready(Error::timeout(self.setting, self.limit));
            }
            self.timer.as_mut().reset(ends);
        }
    }
}
