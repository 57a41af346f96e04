//! Walks over JSON text once, from left to right, and copies nothing.
//!
//! It takes what Python's `json` takes, because FastAPI reads requests with that: `NaN`, `Infinity` and `-Infinity` are numbers,
//! and an escape may be half of a surrogate pair. In everything else it is as strict as RFC 8259. Its memory is one bit for
//! each level of nesting.

use memchr::memchr2;

/// Why a text is not the JSON that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text breaks the grammar.
    #[error("expected {expected} at line {line} column {column}")]
    Malformed {
        /// What would be right there.
        expected: &'static str,
        /// The line, from 1.
        line: usize,
        /// The byte in that line, from 1.
        column: usize,
    },
    /// The object has more members than are read.
    #[error("more than {0} members")]
    TooManyMembers(usize),
}

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub(super) struct JsonCursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> JsonCursor<'t> {
    /// At the first character of `text` that is neither a byte order mark nor blank.
    pub fn new(text: &'t str) -> Self {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        let mut cursor = Self { text, at };
        cursor.skip_blanks();
        cursor
    }

    /// The position in bytes.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps into an object (`{`, `}`) or an array (`[`, `]`). False when it is empty; then it is behind it.
    pub fn enter(&mut self, open: u8, close: u8) -> Result<bool, JsonError> {
        if self.peek() != Some(open) {
            return Err(self.expected(if open == b'{' {
                "an object"
            } else {
                "an array"
            }));
        }
        self.at += 1;
        self.skip_blanks();
        if self.peek() != Some(close) {
            return Ok(true);
        }
        self.at += 1;
        Ok(false)
    }

    /// Steps over the comma behind an entry, or out of the object or array. False when that was the last entry.
    pub fn next_entry(&mut self, close: u8) -> Result<bool, JsonError> {
        self.skip_blanks();
        let has_more = match self.peek() {
            Some(b',') => true,
            Some(byte) if byte == close => false,
            _ if close == b'}' => return Err(self.expected("`,` or `}`")),
            _ => return Err(self.expected("`,` or `]`")),
        };
        self.at += 1;
        if has_more {
            self.skip_blanks();
        }
        Ok(has_more)
    }

    /// Steps over a key and its colon. The key comes as written, with its quotes.
    pub fn key(&mut self) -> Result<&'t str, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key in quotes"));
        }
        let key = self.string()?;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        self.skip_blanks();
        Ok(key)
    }

    /// Steps over a value of any kind. It comes as written.
    pub fn value(&mut self) -> Result<&'t str, JsonError> {
        let start = self.at;
        let mut open = Nesting::default();
        loop {
            match self.peek() {
                Some(b'{') => {
                    open.push(true);
                    if self.enter(b'{', b'}')? {
                        self.key()?;
                        continue;
                    }
                    open.pop();
                }
                Some(b'[') => {
                    open.push(false);
                    if self.enter(b'[', b']')? {
                        continue;
                    }
                    open.pop();
                }
                Some(b'"') => drop(self.string()?),
                _ => self.scalar()?,
            }
            // A value has ended, and with it maybe what holds it.
            loop {
                let Some(is_object) = open.top() else {
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                };
                match (
                    is_object,
                    self.next_entry(if is_object { b'}' } else { b']' })?,
                ) {
                    (_, false) => open.pop(),
                    (true, true) => {
                        self.key()?;
                        break;
                    }
                    (false, true) => break,
                }
            }
        }
    }

    /// Checks that nothing but blanks follows.
    pub fn end(mut self) -> Result<(), JsonError> {
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the text")),
        }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<&'t str, JsonError> {
        let start = self.at;
        self.at += 1; // the quote
        loop {
            self.at += plain_length(self.rest());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.expected("no control character in a string")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += match self.rest() {
            [_, b'u', digits @ ..]
                if digits.len() >= 4 && digits.iter().take(4).all(u8::is_ascii_hexdigit) =>
            {
                6
            }
            [
                _,
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                ..,
            ] => 2,
            _ => return Err(self.expected("an escape that JSON has")),
        };
        Ok(())
    }

    /// A number or a word.
    fn scalar(&mut self) -> Result<(), JsonError> {
        const WORDS: [&[u8]; 6] = [
            b"true",
            b"false",
            b"null",
            b"NaN",
            b"Infinity",
            b"-Infinity",
        ];
        let rest = self.rest();
        let word = WORDS.iter().find(|word| rest.starts_with(word));
        let length = word.map(|word| word.len()).or_else(|| number(rest));
        let length = length.ok_or_else(|| self.expected("a value"))?;
        self.at += length;
        Ok(())
    }

    /// An error at this position.
    pub fn expected(&self, expected: &'static str) -> JsonError {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        JsonError::Malformed {
            expected,
            line: memchr::memchr_iter(b'\n', before).count() + 1,
            column: self.at - line_start + 1,
        }
    }
}

/// How many bytes of a string come before a quote, an escape or a control character. Most strings are short; in a long one many
/// bytes are compared at once, which takes a tenth of the time.
fn plain_length(bytes: &[u8]) -> usize {
    const SHORT: usize = 32;
    let is_plain = |byte: &&u8| !matches!(**byte, b'"' | b'\\' | 0..=0x1f);
    let length = bytes.iter().take(SHORT).take_while(is_plain).count();
    let rest = bytes.get(SHORT..).unwrap_or_default();
    if length < SHORT || rest.is_empty() {
        return length;
    }
    let plain = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let rest = rest.get(..plain).unwrap_or_default();
    let has_control = |chunk: &[u8]| {
        chunk
            .iter()
            .fold(false, |found, byte| found | (*byte < 0x20))
    };
    let controlled = rest.chunks(64).any(has_control);
    SHORT
        + match controlled {
            true => rest.iter().take_while(is_plain).count(),
            false => plain,
        }
}

/// The length of the number that `bytes` begin with (RFC 8259, 6).
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut end = match bytes.get(start)? {
        b'0' => start + 1,
        _ => digits(start)?,
    };
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let is_signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(is_signed))?;
    }
    Some(end)
}

/// Which of the objects and arrays around a position are objects, one bit each.
#[derive(Default)]
struct Nesting {
    /// The innermost levels.
    bits: u64,
    depth: usize,
    /// The others, 64 at a time.
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    /// True for an object, false for an array.
    fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn read(text: &str) -> Result<&str, JsonError> {
        let mut cursor = JsonCursor::new(text);
        let value = cursor.value()?;
        cursor.end().map(|()| value)
    }

    #[test]
    fn what_python_takes_beyond_the_standard_is_read() {
        for text in [
            "NaN",
            "[Infinity,-Infinity]",
            r#"{"logit_bias":{"5":-Infinity}}"#,
            r#""\ud83d""#,
        ] {
            assert_eq!(read(text), Ok(text));
        }
        assert_eq!(read("\u{feff} [1]"), Ok("[1]"));
        for text in ["nan", "-NaN", "+Infinity", "Inf", "NaN1", "[1,\u{feff}2]"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_place_of_an_error_is_named() {
        for (text, message) in [
            ("", "expected a value at line 1 column 1"),
            ("{\n \"a\":}", "expected a value at line 2 column 6"),
            ("[1 2]", "expected `,` or `]` at line 1 column 4"),
            ("[\"a", "expected the end of a string at line 1 column 4"),
            (
                "\"a\n\"",
                "expected no control character in a string at line 1 column 3",
            ),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn a_million_levels_are_read() {
        for (open, close) in [("[", "]"), ("{\"a\":[", "]}")] {
            let deep = open.repeat(1_000_000) + &close.repeat(1_000_000);
            assert!(read(&deep).is_ok());
            assert!(read(&deep[..deep.len() - 1]).is_err());
            let wrong = deep.replacen(close, "}}", 1);
            assert!(read(&wrong).is_err());
        }
    }

    #[test]
    fn what_ends_a_string_is_seen_wherever_it_stands() {
        for length in [0, 1, 31, 32, 33, 63, 64, 65, 96, 200] {
            for at in 0..=length {
                for (end, is_read) in [
                    ("\\n", true),
                    ("\t", false),
                    ("\\x", false),
                    ("\u{1f}", false),
                ] {
                    let mut text =
                        format!("\"{}\"", "é".repeat(length / 2) + &"a".repeat(length % 2));
                    let at = text.ceil_char_boundary(at + 1).min(text.len() - 1);
                    text.insert_str(at, end);
                    assert_eq!(read(&text).is_ok(), is_read, "{text:?}");
                    let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
                    assert_eq!(is_json, is_read, "{text:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn whatever_serde_reads_is_read_and_nothing_else(text in "[\\[\\]{}:,\"\\\\ 019.eE+\\-utfnrlas\n\u{1}é]{0,24}") {
            prop_assert_eq!(read(&text).is_ok(), serde_json::from_str::<&RawValue>(&text).is_ok());
        }

        #[test]
        fn values_of_any_shape_are_read_as_serde_reads_them(text in json(), cut: prop::sample::Index) {
            let strict = |text: &str| serde_json::from_str::<&RawValue>(text).map(|raw| raw.get().to_owned()).ok();
            prop_assert_eq!(read(&text).ok().map(str::to_owned), strict(&text));
            let cut = &text[..text.floor_char_boundary(cut.index(text.len()))];
            prop_assert_eq!(read(cut).ok().map(str::to_owned), strict(cut));
        }
    }

    /// JSON with blanks in every place.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?([eE][+-]?[0-9]{1,2})?",
            "\"([a-z é]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,6}\"",
        ];
        let spaced = |text: String| format!(" {text}\n");
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let member =
                ("\"[a-c]\"", inner.clone()).prop_map(|(key, value)| format!("{key}\t:{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4)
                    .prop_map(move |all| format!("[{}]", all.join(","))),
                prop::collection::vec(member, 0..4)
                    .prop_map(move |all| format!("{{{}}}", spaced(all.join(" ,")))),
            ]
        })
    }
}
