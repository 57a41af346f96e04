//! A body in chunks (RFC 9112, 7.1), as far as it is there.

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;

use super::{framing::has_bare_line_feed, head::Malformed};

/// The line before a chunk at most, in bytes. It is a number; extensions, which nobody sends, are skipped.
pub(super) const SIZE_LINE: usize = 4 << 10;

/// What comes next in a body of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Size,
    Data(u64),
    /// The line's end behind a chunk.
    DataEnd,
    Trailers,
}

/// The chunks that are in a buffer, as they are brought together in it: what is between two of them is overwritten.
pub(super) struct Chunks<'a> {
    buffer: &'a mut BytesMut,
    next: &'a mut Next,
    /// Where their data begins and ends.
    data: (usize, usize),
    /// How far the buffer has been read.
    read: usize,
}

impl<'a> Chunks<'a> {
    /// Takes their data out of `buffer`. It may come beside an error, which is then behind it.
    pub(super) fn of(
        buffer: &'a mut BytesMut,
        next: &'a mut Next,
    ) -> (Bytes, Result<(), Malformed>) {
        let mut chunks = Self {
            buffer,
            next,
            data: (0, 0),
            read: 0,
        };
        let result = loop {
            match chunks.step() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(malformed) => break Err(malformed),
            }
        };
        (chunks.taken(), result)
    }

    fn taken(self) -> Bytes {
        let (begin, end) = self.data;
        self.buffer.advance(begin);
        let data = self.buffer.split_to(end - begin).freeze();
        self.buffer.advance(self.read - end);
        data
    }

    /// Reads one thing; false when it is not there yet, or the trailers are next.
    fn step(&mut self) -> Result<bool, Malformed> {
        let rest = &self.buffer[self.read..];
        let (length, next) = match *self.next {
            Next::Size => match size(rest)? {
                Some((length, 0)) => (length, Next::Trailers),
                Some((length, size)) => (length, Next::Data(size)),
                None => return Ok(false),
            },
            Next::Data(left) => {
                let length = there(rest, left);
                self.keep(length);
                match left - length as u64 {
                    0 => (length, Next::DataEnd),
                    left => (length, Next::Data(left)),
                }
            }
            Next::DataEnd => match rest {
                [] | [b'\r'] => return Ok(false),
                [b'\r', b'\n', ..] => (2, Next::Size),
                _ => return Err(Malformed),
            },
            Next::Trailers => return Ok(false),
        };
        self.read += length;
        *self.next = next;
        Ok(length > 0)
    }

    /// Keeps so many of the bytes that are next, behind those that are kept.
    fn keep(&mut self, length: usize) {
        let (begin, end) = self.data;
        if begin == end {
            self.data = (self.read, self.read + length); // where they are
        } else {
            let bytes = self.read..self.read + length;
            self.buffer.copy_within(bytes, end);
            self.data.1 += length;
        }
    }
}

/// How many of the bytes that are to come are there.
pub(super) fn there(bytes: &[u8], left: u64) -> usize {
    bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// The length of the line before a chunk, and the size that it tells; `None` when it is not there yet.
fn size(bytes: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    if !bytes.first().is_none_or(u8::is_ascii_hexdigit) {
        return Err(Malformed); // no digits are a zero to httparse
    }
    match httparse::parse_chunk_size(bytes) {
        Ok(Status::Complete((length, _))) if has_bare_line_feed(&bytes[..length]) => Err(Malformed),
        Ok(Status::Complete(read)) => Ok(Some(read)),
        Ok(Status::Partial) if bytes.len() <= SIZE_LINE => Ok(None),
        _ => Err(Malformed),
    }
}
