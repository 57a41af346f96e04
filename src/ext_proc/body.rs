//! Collects the chunks of a body.

use std::mem;

use bytes::{Bytes, BytesMut};

/// The chunks so far. A body of one chunk is not copied.
#[derive(Debug, Default)]
pub struct BodyBuffer {
    first: Bytes,
    all: BytesMut,
}

impl BodyBuffer {
    /// The number of bytes so far.
    pub fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// Adds a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return; // Envoy ends a body with an empty chunk
        }
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    /// The whole body.
    pub fn into_bytes(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}
