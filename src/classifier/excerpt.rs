//! What is left of a text before it is tokenised: a tokenizer needs 0.7 s for a megabyte and cannot be cancelled, so a
//! decision must not grow with the prompt.

use std::cell::OnceCell;

use sha2::{Digest, Sha256};

use super::tokenizer::Tokens;

/// A text, or its head and tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The whole text, or its beginning.
    pub head: Box<str>,
    /// Its end, when the middle was cut out.
    pub tail: Option<Box<str>>,
    /// How much work it is, in bytes that are read and something for the call.
    pub size: u64,
    /// What a model has read of it, for the next time that it is asked.
    pub tokens: OnceCell<Tokens>,
}

/// Identifies the content of an excerpt.
pub type Fingerprint = [u8; 32];

/// Bytes kept for every token that will be read, half of them at each end. Eight is above what any language needs per token, so the
/// cut seldom costs a token that would have been read: of 3,108 long prompts one, a program, is read otherwise without it.
const BYTES_PER_TOKEN: usize = 8;
/// Bytes that a token of English has, as far as work is concerned: longer texts are read no further.
const BYTES_READ: usize = 4;
/// What the shortest text costs, in bytes of a longer one.
const CALL: usize = 64;

impl Excerpt {
    /// Cuts `text` for a reader of `max_tokens`, on character boundaries.
    pub fn of(text: &str, max_tokens: usize) -> Self {
        let end = max_tokens.div_ceil(2) * BYTES_PER_TOKEN;
        let size = ((CALL + text.len()) as u64).min(Self::most(max_tokens));
        if text.len() <= 2 * end {
            return Self {
                head: text.into(),
                tail: None,
                size,
                tokens: OnceCell::new(),
            };
        }
        let head = &text[..text.floor_char_boundary(end)];
        let tail = &text[text.ceil_char_boundary(text.len() - end)..];
        Self {
            head: head.into(),
            tail: Some(tail.into()),
            size,
            tokens: OnceCell::new(),
        }
    }

    /// About how much work a text of so many tokens is, in the unit of `size`.
    pub fn size_of(tokens: usize) -> u64 {
        tokens.saturating_mul(BYTES_READ) as u64
    }

    /// The most that a text can be for who reads so many tokens of it.
    pub fn most(tokens: usize) -> u64 {
        (CALL as u64).saturating_add(Self::size_of(tokens))
    }

    /// A collision-resistant name for the content.
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
    fn different_content_has_different_names() {
        let name = |head: &str, tail: Option<&str>| {
            Excerpt {
                head: head.into(),
                tail: tail.map(Into::into),
                size: 0,
                tokens: OnceCell::new(),
            }
            .fingerprint()
        };
        assert_ne!(name("ab", None), name("a", Some("b")));
        assert_eq!(name("ab", None), name("ab", None));
    }
}
