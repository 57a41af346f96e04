//! The answer's body: the model server's bytes as they come, with a time limit on every wait and exactly one end.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{headers, idle_timeout::IdleTimeout, inspect::Inspect};
use crate::{
    error::Error,
    telemetry::{Outcome, Record},
    upstream::{
        balance::{Endpoint, InFlight},
        client::Client,
        transport::BufferedBody,
    },
};

/// A body that is relayed from a model server to a client. Dropping it closes the request to the server and writes the record.
#[derive(Debug)]
pub struct RelayBody {
    /// The server's body; `None` after it ended or failed.
    inner: Option<BufferedBody>,
    inspect: Inspect,
    timeout: IdleTimeout,
    abort: Pin<Box<WaitForCancellationFutureOwned>>,
    record: Box<Record>,
    attempt: AnsweredAttempt,
}

/// The attempt that got an answer.
#[derive(Debug)]
pub struct AnsweredAttempt {
    /// Counts the request as running at its endpoint.
    pub in_flight: InFlight,
    /// When the request was sent.
    pub sent: Instant,
    /// True if the server answered only without our switch.
    pub switch_rejected: bool,
}

impl RelayBody {
    /// Relays `inner`, whose headers have just arrived.
    pub(super) fn new(
        inner: BufferedBody,
        inspect: Inspect,
        client: &Client,
        record: Box<Record>,
        attempt: AnsweredAttempt,
    ) -> Self {
        Self {
            inner: Some(inner),
            inspect,
            timeout: IdleTimeout::new(&client.settings),
            abort: Box::pin(client.worker_abort_token().clone().cancelled_owned()),
            record,
            attempt,
        }
    }

    /// The record of this request, which is written when the body is dropped.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// True if the server answered only without our switch.
    pub fn switch_rejected(&self) -> bool {
        self.attempt.switch_rejected
    }

    /// The endpoint that answered.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        self.attempt.in_flight.endpoint()
    }

    fn on_chunk(&mut self, data: &Bytes) {
        self.timeout.on_chunk();
        let sent = self.attempt.sent;
        if self.record.first_chunk_s.is_none() {
            self.record.first_chunk_s = Some(sent.elapsed().as_secs_f64());
            self.endpoint().on_first_byte(sent);
        }
        self.record.bytes_out += data.len() as u64;
        self.inspect.scan(data);
    }

    fn on_end(&mut self) {
        self.inner = None;
        self.endpoint().on_complete(self.attempt.sent);
        self.record.outcome = Outcome::Complete;
        self.record_usage();
    }

    /// What the client gets after a failure: an error event in a stream of events, otherwise an aborted body.
    fn on_error(&mut self, error: &Error) -> Option<Result<Frame<Bytes>, io::Error>> {
        self.inner = None;
        match error {
            Error::Stopping => {}
            _ if self.inspect.is_terminated() => self.endpoint().on_complete(self.attempt.sent),
            _ => self.endpoint().on_failure(self.attempt.sent),
        }
        self.record.fail(error);
        if let Inspect::Sse { scanner, .. } = &self.inspect {
            self.record.usage = scanner.usage();
        }
        let Some(scanner) = self.inspect.growing_stream() else {
            return Some(Err(io::Error::other(error.to_string())));
        };
        if scanner.is_terminated() {
            return None;
        }
        let blank_line = if scanner.at_boundary() { "" } else { "\n\n" };
        Some(Ok(Frame::data(
            format!("{blank_line}{}", error.sse_event()).into(),
        )))
    }

    fn record_usage(&mut self) {
        if let Some(usage) = self.inspect.usage() {
            self.record.usage = usage;
        }
    }
}

impl Body for RelayBody {
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
                    this.on_chunk(data);
                }
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(headers::for_client(trailers)),
                    Err(frame) => frame,
                })))
            }
            Poll::Ready(None) => {
                this.on_end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(this.on_error(&Error::Reset)),
            Poll::Pending => {
                let error = match this.abort.as_mut().poll(cx) {
                    Poll::Ready(()) => Error::Stopping,
                    Poll::Pending => ready!(this.timeout.poll_expired(cx)),
                };
                Poll::Ready(this.on_error(&error))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // A stream that fails grows by our error event.
        match (&self.inner, self.inspect.growing_stream()) {
            (Some(inner), None) => inner.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Drop for RelayBody {
    fn drop(&mut self) {
        // hyper drops a body with a length as soon as its last byte is written, without polling for its end.
        if self.inner.as_ref().is_some_and(Body::is_end_stream) {
            self.on_end();
        } else if self.record.outcome == Outcome::ClientGone {
            self.record_usage();
            if self.inspect.is_terminated() {
                self.endpoint().on_complete(self.attempt.sent);
            }
        }
    }
}
