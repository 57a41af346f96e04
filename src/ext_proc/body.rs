//! A body as it comes.

use std::mem;

use bytes::{Bytes, BytesMut};

/// The pieces so far; one that is the whole body is not copied.
#[derive(Debug, Default)]
pub struct Pieces {
    first: Bytes,
    all: BytesMut,
}

impl Pieces {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.first.len().max(self.all.len())
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return; // Envoy says the end of a body with an empty piece
        }
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece);
    }

    /// The body.
    pub fn into_bytes(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}
