//! Excerpt -> token ids: head and tail kept when there are more than the model may read.

use std::path::Path;

use tokenizers::{Encoding, NormalizerWrapper, Tokenizer, normalizers};

use super::{excerpt::Excerpt, load::LoadError};

/// A tokenizer with the special tokens that frame a text.
pub struct Reader {
    tokenizer: Tokenizer,
    /// For texts of ASCII alone.
    ascii: Option<Tokenizer>,
    prefix: Vec<i64>,
    suffix: Vec<i64>,
    unknown: Option<u32>,
    max_tokens: usize,
}

/// A text as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Ids, the special ones included.
    pub ids: Vec<i64>,
    /// True when the middle was left out.
    pub truncated: bool,
    /// True when the vocabulary cannot read the text.
    pub unreadable: bool,
}

/// Above this share of unknown tokens a text counts as unreadable: more is guessed than read.
const MOST_UNKNOWN: f64 = 0.3;

impl Reader {
    /// Reads `tokenizer.json`. Padding and truncation that it may ask for are ours to do.
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
        let encode = |special| {
            let encoding = tokenizer
                .encode_fast("a", special)
                .map_err(|error| broken(error.to_string()))?;
            Ok::<_, LoadError>(wide(encoding.get_ids()))
        };
        let (bare, framed) = (encode(false)?, encode(true)?);
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
            ascii: for_ascii(&tokenizer),
            tokenizer,
            prefix,
            suffix,
            unknown,
            max_tokens,
        })
    }

    /// Tokens it reads of a text at most, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The tokens of an excerpt, which is read once: a text of which an exit is not sure is asked for again.
    pub fn tokens<'a>(&self, excerpt: &'a Excerpt) -> Result<&'a Tokens, tokenizers::Error> {
        match excerpt.tokens.get() {
            Some(tokens) => Ok(tokens),
            None => {
                let tokens = self.read(excerpt)?;
                Ok(excerpt.tokens.get_or_init(|| tokens))
            }
        }
    }

    fn encode(&self, text: &str) -> Result<Encoding, tokenizers::Error> {
        let ascii = self.ascii.as_ref().filter(|_| text.is_ascii());
        ascii.unwrap_or(&self.tokenizer).encode_fast(text, false)
    }

    /// Tokenises an excerpt.
    pub fn read(&self, excerpt: &Excerpt) -> Result<Tokens, tokenizers::Error> {
        let room = self.max_tokens - self.prefix.len() - self.suffix.len();
        let head = self.encode(&excerpt.head)?;
        let tail = excerpt
            .tail
            .as_ref()
            .map(|tail| self.encode(tail))
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
        Ok(Tokens {
            ids,
            truncated,
            unreadable: count == 0 || unknown as f64 > MOST_UNKNOWN * count as f64,
        })
    }
}

/// The same without the forms of Unicode and without accents, a quarter of the work, which change nothing in ASCII. None where there
/// is nothing to be left out.
fn for_ascii(tokenizer: &Tokenizer) -> Option<Tokenizer> {
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

fn last(ids: &[u32], count: usize) -> &[u32] {
    &ids[ids.len().saturating_sub(count)..]
}

fn wide(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|id| i64::from(*id)).collect()
}
