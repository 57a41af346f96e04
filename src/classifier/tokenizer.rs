//! Turns an excerpt into token ids. When there are more than the model reads, the first and the last ones are kept.

use std::path::Path;

use tokenizers::{Encoding, NormalizerWrapper, Tokenizer, normalizers};

use super::{
    error::LoadError,
    excerpt::{EncodedText, Excerpt},
};

/// The tokenizer of a model, with the special tokens that go before and after a text.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// A faster one for ASCII texts, with the same result.
    ascii: Option<Tokenizer>,
    prefix: Vec<i64>,
    suffix: Vec<i64>,
    unknown: Option<u32>,
    max_tokens: usize,
}

/// A text with a larger share of unknown tokens counts as unreadable.
const MAX_UNKNOWN_SHARE: f64 = 0.3;

impl TextTokenizer {
    /// Reads `tokenizer.json`. The padding and truncation that it may configure are switched off; both are done here.
    pub fn load(file: &Path, max_tokens: usize) -> Result<Self, LoadError> {
        let broken = |why: String| LoadError::Broken {
            file: file.to_owned(),
            why,
        };
        let mut tokenizer =
            Tokenizer::from_file(file).map_err(|error| broken(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|error| broken(error.to_string()))?;
        let encode_letter = |special| {
            let encoding = tokenizer
                .encode_fast("a", special)
                .map_err(|error| broken(error.to_string()))?;
            Ok::<_, LoadError>(to_i64(encoding.get_ids()))
        };
        let (bare, framed) = (encode_letter(false)?, encode_letter(true)?);
        let start = framed
            .windows(bare.len().max(1))
            .position(|window| window == bare)
            .unwrap_or(0);
        let (prefix, suffix) = (
            framed[..start].to_vec(),
            framed[start + bare.len()..].to_vec(),
        );
        if max_tokens < prefix.len() + suffix.len() + 8 {
            return Err(broken(format!(
                "max_tokens = {max_tokens} leaves no room for a text"
            )));
        }
        let unknown = ["[UNK]", "<unk>", "<|unk|>"]
            .iter()
            .find_map(|token| tokenizer.token_to_id(token));
        Ok(Self {
            ascii: without_unicode_normalization(&tokenizer),
            tokenizer,
            prefix,
            suffix,
            unknown,
            max_tokens,
        })
    }

    /// The most tokens of one text, including the special ones.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokens of an excerpt. They are kept in it, because a text about which the exit is not confident runs twice.
    pub fn encode_once<'a>(
        &self,
        excerpt: &'a Excerpt,
    ) -> Result<&'a EncodedText, tokenizers::Error> {
        match excerpt.encoded.get() {
            Some(encoded) => Ok(encoded),
            None => {
                let encoded = self.encode(excerpt)?;
                Ok(excerpt.encoded.get_or_init(|| encoded))
            }
        }
    }

    fn encode_text(&self, text: &str) -> Result<Encoding, tokenizers::Error> {
        let ascii = self.ascii.as_ref().filter(|_| text.is_ascii());
        ascii.unwrap_or(&self.tokenizer).encode_fast(text, false)
    }

    /// Tokenises an excerpt, and cuts out the middle when it has more than `max_tokens`.
    pub fn encode(&self, excerpt: &Excerpt) -> Result<EncodedText, tokenizers::Error> {
        let room = self.max_tokens - self.prefix.len() - self.suffix.len();
        let head = self.encode_text(&excerpt.head)?;
        let tail = excerpt
            .tail
            .as_ref()
            .map(|tail| self.encode_text(tail))
            .transpose()?;
        let (head, tail) = (head.get_ids(), tail.as_ref().map(|tail| tail.get_ids()));
        let half = room / 2;
        let (head, tail, truncated) = match tail {
            None if head.len() <= room => (head, &[][..], false),
            None => (&head[..half], last(head, room - half), true),
            Some(tail) => (&head[..half.min(head.len())], last(tail, room - half), true),
        };
        let count = head.len() + tail.len();
        let unknown = head
            .iter()
            .chain(tail)
            .filter(|id| Some(**id) == self.unknown)
            .count();
        let mut ids = Vec::with_capacity(count + self.prefix.len() + self.suffix.len());
        ids.extend(&self.prefix);
        ids.extend(head.iter().chain(tail).map(|id| i64::from(*id)));
        ids.extend(&self.suffix);
        Ok(EncodedText {
            ids,
            truncated,
            unreadable: count == 0 || unknown as f64 > MAX_UNKNOWN_SHARE * count as f64,
        })
    }
}

/// The same tokenizer without Unicode normalisation and accent stripping. They change nothing in ASCII texts and take a quarter of the
/// time. `None` when the tokenizer has no such steps.
fn without_unicode_normalization(tokenizer: &Tokenizer) -> Option<Tokenizer> {
    use NormalizerWrapper::{NFC, NFD, NFKC, NFKD, Sequence, StripAccents};
    let Some(Sequence(all)) = tokenizer.get_normalizer() else {
        return None;
    };
    let is_needed = |one: &&NormalizerWrapper| {
        !matches!(one, NFC(_) | NFD(_) | NFKC(_) | NFKD(_) | StripAccents(_))
    };
    let needed: Vec<_> = all.as_ref().iter().filter(is_needed).cloned().collect();
    if needed.len() == all.as_ref().len() {
        return None;
    }
    let mut ascii = tokenizer.clone();
    ascii
        .with_normalizer(Some(normalizers::Sequence::new(needed)))
        .ok()?;
    Some(ascii)
}

/// The last `count` ids.
fn last(ids: &[u32], count: usize) -> &[u32] {
    &ids[ids.len().saturating_sub(count)..]
}

fn to_i64(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|id| i64::from(*id)).collect()
}
