//! Cuts a text to its head and tail before it is tokenised. Tokenising a megabyte takes 0.7 s and cannot be cancelled, so the cost of
//! a decision must not grow with the prompt.

use std::cell::OnceCell;

use sha2::{Digest, Sha256};

/// The part of a text that the model may read: the whole text, or its head and tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The whole text, or its beginning.
    pub head: Box<str>,
    /// The end of the text, when the middle was cut out.
    pub tail: Option<Box<str>>,
    /// Estimated work of one inference, in bytes of text that are read plus [`FIXED_COST`].
    pub cost: u64,
    /// The tokens, filled in by the first inference and reused by the second one.
    pub encoded: OnceCell<EncodedText>,
}

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedText {
    /// Token ids, including the special ones.
    pub ids: Vec<i64>,
    /// True when the middle of the text was left out.
    pub truncated: bool,
    /// True when there are no tokens, or too many unknown ones to classify the text.
    pub unreadable: bool,
}

/// The SHA-256 of an excerpt's content: the key of the score cache.
pub type Fingerprint = [u8; 32];

/// Bytes kept for every token that will be read, half of them at each end. No language needs eight bytes a token, so the cut seldom
/// removes a token that would have been read: of 3,108 long prompts it changed the tokens of one, a program.
const BYTES_PER_TOKEN: usize = 8;
/// Bytes of an average English token. The cost of a text stops growing at `max_tokens` of these.
const COST_PER_TOKEN: usize = 4;
/// The cost of an empty text: that of one inference call, in bytes of a longer text.
const FIXED_COST: usize = 64;

impl Excerpt {
    /// Cuts `text` for a model that reads `max_tokens`, at character boundaries.
    pub fn of(text: &str, max_tokens: usize) -> Self {
        let end = max_tokens.div_ceil(2) * BYTES_PER_TOKEN;
        let (head, tail) = if text.len() <= 2 * end {
            (text, None)
        } else {
            let head = &text[..text.floor_char_boundary(end)];
            (
                head,
                Some(&text[text.ceil_char_boundary(text.len() - end)..]),
            )
        };
        Self {
            head: head.into(),
            tail: tail.map(Into::into),
            cost: ((FIXED_COST + text.len()) as u64).min(Self::max_cost(max_tokens)),
            encoded: OnceCell::new(),
        }
    }

    /// The estimated cost of this many tokens, in the unit of `cost`.
    pub fn cost_of_tokens(tokens: usize) -> u64 {
        tokens.saturating_mul(COST_PER_TOKEN) as u64
    }

    /// The highest cost of a text for a model that reads `max_tokens`.
    pub fn max_cost(max_tokens: usize) -> u64 {
        (FIXED_COST as u64).saturating_add(Self::cost_of_tokens(max_tokens))
    }

    /// Hashes the content.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update((self.head.len() as u64).to_le_bytes());
        hash.update(self.head.as_bytes());
        hash.update(self.tail.as_deref().unwrap_or_default().as_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends_on_character_boundaries() {
        let excerpt = Excerpt::of(&"é".repeat(1_000_000), 10);
        assert_eq!(excerpt.head.len(), 40);
        assert_eq!(excerpt.tail.unwrap().len(), 40);
        assert_eq!(Excerpt::of(&"x".repeat(80), 10).tail, None);
        let odd = Excerpt::of(&format!("a{}", "é".repeat(1000)), 10);
        assert_eq!(odd.head.len(), 39);
    }

    #[test]
    fn different_content_has_different_fingerprints() {
        let fingerprint = |head: &str, tail: Option<&str>| {
            Excerpt {
                head: head.into(),
                tail: tail.map(Into::into),
                cost: 0,
                encoded: OnceCell::new(),
            }
            .fingerprint()
        };
        assert_ne!(fingerprint("ab", None), fingerprint("a", Some("b")));
        assert_eq!(fingerprint("ab", None), fingerprint("ab", None));
    }
}
