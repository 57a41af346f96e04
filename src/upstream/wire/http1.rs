//! An HTTP/1.1 connection, driven by the request that has it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use tokio::task::unconstrained;

use super::{Back, Origin, open::Io, shelf::Shelf};
use crate::upstream::{
    reply::{Reply, Unread},
    sending::Sending,
};

/// A connection with nothing on its way.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Sending>,
    /// Reads and writes; `None` once it has ended.
    driver: Option<http1::Connection<Io, Sending>>,
}

impl Connection {
    /// Begins to speak over a stream of bytes.
    pub(super) async fn shake(io: Io) -> hyper::Result<Box<Self>> {
        let (sender, driver) = http1::handshake(io).await?;
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
        }))
    }

    /// Asks; when all of the answer has come, the connection goes to `shelf`.
    pub(super) async fn ask(
        mut self: Box<Self>,
        mut request: Box<Request<Sending>>,
        origin: &Origin,
        shelf: Arc<Shelf>,
    ) -> Result<Reply, Back> {
        let host = origin.host.clone();
        request.headers_mut().insert(header::HOST, host);
        // It comes by driving alone, so that it need not wake anybody; nor may it put us off, as what is constrained does when the
        // task has had its share of this turn.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(*request)));
        let answered = poll_fn(|cx| {
            drive(&mut self.driver, cx);
            let mut by_driving_alone = Context::from_waker(Waker::noop());
            answer.as_mut().poll(&mut by_driving_alone)
        });
        match answered.await {
            Ok(response) => Ok(response.map(|body| {
                Unread::from(Driven {
                    body,
                    connection: Some((self, shelf)),
                })
            })),
            Err(mut failed) => Err(match failed.take_message() {
                Some(request) => Back::Unsent(Box::new(request)),
                None => Back::Lost,
            }),
        }
    }

    /// True when it can take a request; false when its server has closed it, or what it last carried has not come to its end.
    pub(super) fn is_free(&mut self) -> bool {
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }

    fn lay_down(mut self: Box<Self>, shelf: &Shelf) {
        if self.is_free() {
            shelf.put(self);
        }
    }
}

/// Reads and writes what can be read and written. A connection that has ended is let go, and with it whatever waits for it fails.
fn drive(driver: &mut Option<http1::Connection<Io, Sending>>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(running).poll(cx).is_ready()
    {
        *driver = None;
    }
}

/// The body of an answer, and the connection that it comes over.
#[derive(Debug)]
pub struct Driven {
    body: Incoming,
    /// With the shelf where it belongs; `None` once all has come.
    connection: Option<(Box<Connection>, Arc<Shelf>)>,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut by_driving_alone = Context::from_waker(Waker::noop());
        let mut polled = Pin::new(&mut this.body).poll_frame(&mut by_driving_alone);
        if polled.is_pending()
            && let Some((connection, _)) = &mut this.connection
        {
            drive(&mut connection.driver, cx);
            polled = Pin::new(&mut this.body).poll_frame(&mut by_driving_alone);
        }
        if let Poll::Ready(None) = polled
            && let Some((connection, shelf)) = this.connection.take()
        {
            connection.lay_down(&shelf);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // A body with a length is dropped when its last byte has come, before it says that this was the end.
        if let Some((connection, shelf)) = self.connection.take()
            && self.body.is_end_stream()
        {
            connection.lay_down(&shelf);
        }
    }
}
