//! Collects the chunks of a body into one piece of memory.

use std::mem;

use bytes::{Bytes, BytesMut};

/// The chunks of a body so far. A body that is one chunk is never copied.
#[derive(Debug, Default)]
pub struct BodyBuffer {
    first: Bytes,
    all: BytesMut,
    expected: usize,
}

impl BodyBuffer {
    /// An empty buffer that allocates `expected` bytes at once when a second chunk arrives.
    pub fn expecting(expected: usize) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// True when it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        if self.is_empty() {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(self.expected);
            self.all.extend_from_slice(&mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    /// Takes what it holds, and leaves it empty.
    pub fn take(&mut self) -> Bytes {
        match self.all.is_empty() {
            true => mem::take(&mut self.first),
            false => self.all.split().freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_become_one_and_a_single_chunk_is_not_copied() {
        let mut buffer = BodyBuffer::expecting(4);
        let chunk = Bytes::from_static(b"ab");
        buffer.push(chunk.clone());
        let taken = buffer.take();
        assert_eq!(taken.as_ptr(), chunk.as_ptr());
        for part in ["", "a", "", "b", "c"] {
            buffer.push(part.into());
        }
        assert_eq!(buffer.len(), 3);
        assert_eq!(buffer.take(), "abc");
        assert!(buffer.is_empty() && buffer.take().is_empty());
        buffer.push("d".into());
        assert_eq!(buffer.take(), "d");
    }
}
