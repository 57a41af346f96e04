//! The bytes of a body, in one piece or more. A long body that was edited shares the client's bytes and is never copied.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

/// A shorter body is copied when it is edited: one piece is sent with one system call, and copying this much takes some 20
/// microseconds.
const SHARED_FROM_BYTES: usize = 128 << 10;

/// A body in pieces, none of which is empty unless the whole body is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BodyPieces {
    first: Bytes,
    rest: VecDeque<Bytes>,
}

impl From<Bytes> for BodyPieces {
    fn from(bytes: Bytes) -> Self {
        Self {
            first: bytes,
            rest: VecDeque::new(),
        }
    }
}

impl BodyPieces {
    /// `body` with each span of `edits` replaced by its text. The spans are in order and do not overlap.
    pub fn replaced(body: &Bytes, edits: Vec<(Range<usize>, String)>) -> Self {
        let between = |from: usize, to: usize| body.get(from..to).unwrap_or_default();
        let mut done = 0;
        if body.len() < SHARED_FROM_BYTES {
            let grown: usize = edits.iter().map(|(_, text)| text.len()).sum();
            let mut all = Vec::with_capacity(body.len() + grown);
            for (span, text) in edits {
                all.extend_from_slice(between(done, span.start));
                all.extend_from_slice(text.as_bytes());
                done = span.end;
            }
            all.extend_from_slice(between(done, body.len()));
            return Bytes::from(all).into();
        }
        let mut pieces = Self::default();
        for (span, text) in edits {
            pieces.push(body.slice_ref(between(done, span.start)));
            pieces.push(text.into());
            done = span.end;
        }
        pieces.push(body.slice_ref(between(done, body.len())));
        pieces
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: Bytes) {
        match (bytes.is_empty(), self.is_empty()) {
            (true, _) => {}
            (_, true) => self.first = bytes,
            _ => self.rest.push_back(bytes),
        }
    }

    /// Takes at most `most` bytes from the start, without copying.
    pub fn take(&mut self, most: usize) -> Bytes {
        let piece = self.first.split_to(self.first.len().min(most));
        if self.first.is_empty() {
            self.first = self.rest.pop_front().unwrap_or_default();
        }
        piece
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// All of it as one piece; copied when there are several.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut all = Vec::with_capacity(self.len());
        all.extend_from_slice(&self.first);
        self.rest
            .iter()
            .for_each(|piece| all.extend_from_slice(piece));
        all.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_taken_in_order_and_joined() {
        let mut pieces = BodyPieces::default();
        for piece in ["", "abc", "", "d", "ef", ""] {
            pieces.push(piece.into());
        }
        assert_eq!(
            (pieces.len(), pieces.clone().into_bytes()),
            (6, "abcdef".into())
        );
        let taken: Vec<Bytes> =
            std::iter::from_fn(|| (!pieces.is_empty()).then(|| pieces.take(2))).collect();
        assert_eq!(taken, ["ab", "c", "d", "ef"]);
        assert_eq!(
            (pieces.len(), pieces.take(2), pieces.into_bytes()),
            (0, "".into(), "".into())
        );
    }

    #[test]
    fn an_edited_body_is_the_same_in_one_piece_and_in_several() {
        for length in [10, SHARED_FROM_BYTES, SHARED_FROM_BYTES + 7] {
            let text = "0123456789".repeat(length / 10 + 1)[..length].to_owned();
            let edits = vec![
                (0..0, "a".into()),
                (2..5, String::new()),
                (7..9, "bc".into()),
                (length..length, "d".into()),
            ];
            let pieces = BodyPieces::replaced(&text.clone().into(), edits);
            let wanted = format!("a{}{}bc{}d", &text[..2], &text[5..7], &text[9..]);
            assert_eq!(pieces.len(), wanted.len());
            assert_eq!(pieces.into_bytes(), wanted);
        }
    }
}
