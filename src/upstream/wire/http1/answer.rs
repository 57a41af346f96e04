//! The body of an answer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Connection, IdleConnections, Malformed};

/// The body of an answer, which drives the connection that it comes over. Dropped before its end it closes it.
#[derive(Debug)]
pub struct ConnectionBody {
    /// The connection and the pool it returns to; `None` once the whole body has arrived.
    connection: Option<(Box<Connection>, Arc<IdleConnections>)>,
}

impl ConnectionBody {
    /// What comes over `connection` behind a head.
    pub(super) fn over(connection: Box<Connection>, idle: Arc<IdleConnections>) -> Self {
        let mut body = Self {
            connection: Some((connection, idle)),
        };
        body.let_go_when_over();
        body
    }

    /// As soon as the last of it has come, others may have the connection.
    fn let_go_when_over(&mut self) {
        let is_over = |(connection, _): &mut (Box<Connection>, _)| connection.reader.is_over();
        if let Some((connection, idle)) = self.connection.take_if(is_over) {
            connection.release(&idle);
        }
    }

    /// The next frame; `None` at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Frame<Bytes>>>> {
        let malformed = |Malformed| io::Error::from(io::ErrorKind::InvalidData);
        while let Some((connection, _)) = &mut self.connection {
            let frame = connection.reader.frame().map_err(malformed)?;
            if frame.is_none() && !connection.reader.is_over() {
                connection.send_on(cx);
                match ready!(connection.reader.poll_fill(&mut connection.io, cx))? {
                    0 => connection.reader.close().map_err(malformed)?,
                    _ => continue,
                }
            }
            self.let_go_when_over();
            if frame.is_some() {
                return Poll::Ready(Ok(frame));
            }
        }
        Poll::Ready(Ok(None))
    }
}

impl Body for ConnectionBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let next = ready!(self.poll_next(cx));
        if next.is_err() {
            self.connection = None;
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.connection {
            Some((connection, _)) => connection.reader.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}
