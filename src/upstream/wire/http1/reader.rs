//! An answer as it comes: bytes in, a head and pieces of a body out.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use http_body::{Frame, SizeHint};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::{
    super::MAX_HEAD_BYTES,
    framing::{Framing, blank_line, has_bare_carriage_return},
    head::{Malformed, ResponseHead},
};

/// Room for one read at first, in bytes.
const LEAST: usize = 8 << 10;

/// The same at most, where the server is faster than we are.
const MOST: usize = 64 << 10;

/// Reads the answers that come over one connection, one after the other.
#[derive(Debug, Default)]
pub struct AnswerReader {
    buffer: BytesMut,
    /// How far there is no end of a head.
    searched: usize,
    has_seen_one_begin: bool,
    body: Framing,
    /// For the next read, beyond the least there is.
    more_room: usize,
}

impl AnswerReader {
    /// Reads what there is, once; as many bytes, none at the end.
    ///
    /// # Errors
    /// Those of `io`.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let left = self.buffer.capacity() - self.buffer.len();
        if left < LEAST / 2 {
            let wanted = LEAST + self.more_room;
            match self.buffer.is_empty() {
                true => self.buffer = BytesMut::with_capacity(wanted), // what it shared is no longer ours
                false => self.buffer.reserve(wanted),
            }
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let length = ready!(poll_read_buf(Pin::new(io), cx, &mut self.buffer))?;
        self.more_room = match length {
            _ if length == room => (2 * room).min(MOST) - LEAST,
            _ if length < room / 2 => self.more_room / 2,
            _ => self.more_room,
        };
        Poll::Ready(Ok(length))
    }

    /// The head of the answer to a request with this method, once it is there; interim ones (1xx) and blank lines before one are
    /// skipped.
    ///
    /// # Errors
    /// When it is none, or one over 400 KB or 100 lines.
    pub fn head(&mut self, method: &Method) -> Result<Option<ResponseHead>, Malformed> {
        loop {
            let Some(end) = self.end_of_head()? else {
                return Ok(None);
            };
            let head = self.buffer.split_to(end).freeze();
            self.searched = 0;
            let head = ResponseHead::read(&head, method)?;
            if !head.status.is_informational() {
                self.body = head.framing;
                return Ok(Some(head));
            }
        }
    }

    /// Looked for in what is new only, so that a head in many pieces is not read as many times.
    fn end_of_head(&mut self) -> Result<Option<usize>, Malformed> {
        const BEGIN: &[u8] = b"HTTP/1.";
        self.skip_blank_lines();
        let bytes = match &self.buffer[..] {
            b"\r" => return Ok(None), // of a blank line, maybe
            bytes => bytes,
        };
        let begin = BEGIN.len().min(bytes.len());
        if bytes[..begin] != BEGIN[..begin] {
            return Err(Malformed); // it may wait for us, and no end of a line ever come
        }
        self.has_seen_one_begin |= begin == BEGIN.len();
        let end = blank_line(bytes, self.searched);
        let fresh = bytes.get(self.searched..end.unwrap_or(bytes.len()));
        if has_bare_carriage_return(fresh.unwrap_or_default()) {
            return Err(Malformed); // a server that ends its lines so would be waited for until a timeout
        }
        self.searched = bytes.len().saturating_sub(2);
        match end.unwrap_or(bytes.len()) > MAX_HEAD_BYTES as usize {
            true => Err(Malformed),
            false => Ok(end),
        }
    }

    /// Some servers end a body with a line end that is not of it; httparse, and whoever reads by it, allows for that.
    fn skip_blank_lines(&mut self) {
        loop {
            let length = match self.buffer[..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                _ => return,
            };
            self.buffer.advance(length);
        }
    }

    /// True once an answer has begun, whatever became of it.
    pub fn has_seen_one_begin(&self) -> bool {
        self.has_seen_one_begin
    }

    /// The next of the body that is there: all of its data, or trailers. `None` when more has to come first, or nothing does.
    ///
    /// # Errors
    /// When it is cut into no chunks.
    pub fn frame(&mut self) -> Result<Option<Frame<Bytes>>, Malformed> {
        self.body.take(&mut self.buffer)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When the body had not.
    pub fn close(&mut self) -> Result<(), Malformed> {
        self.body.close()
    }

    /// True when nothing more of the answer comes.
    pub fn is_over(&self) -> bool {
        self.body == Framing::Over
    }

    /// True when bytes have come that nobody has taken.
    pub fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// How much of the body is to come.
    pub fn size_hint(&self) -> SizeHint {
        match self.body {
            Framing::Over => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::UntilClosed => SizeHint::default(),
        }
    }
}
