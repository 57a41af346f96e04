//! The members of one JSON object and the positions of their values in the bytes, read in one pass.
//!
//! Values are not decoded: `1.0`, `1e3`, escapes, whitespace and key order stay what the client wrote. Keys are compared
//! unescaped, because for the server `"m\u006fdel"` is `model`.

use std::ops::Range;

use super::{
    json_cursor::{JsonCursor, JsonError},
    json_string::unescaped,
    limits::MAX_MEMBERS,
};

/// The positions of a JSON object's values in the text that it was read from. It holds no text itself, so that it can be
/// stored next to the bytes.
#[derive(Debug, Clone)]
pub struct Object {
    members: Vec<(Box<str>, Range<usize>)>,
    end: usize,
}

impl Object {
    /// Reads `text`, which must be one JSON object and nothing else but blanks and a byte order mark in front.
    ///
    /// # Errors
    /// The first position that is not JSON, or that the object has over 1,024 members.
    pub fn read(text: &str) -> Result<Self, JsonError> {
        let mut cursor = JsonCursor::new(text);
        let start = cursor.at() + 1; // behind the brace
        let mut members = Vec::with_capacity(16);
        let mut has_more = cursor.enter(b'{', b'}')?;
        while has_more {
            if members.len() == MAX_MEMBERS {
                return Err(JsonError::TooManyMembers(MAX_MEMBERS));
            }
            let key = unescaped(cursor.key()?);
            let value = cursor.value()?;
            members.push((key.into(), cursor.at() - value.len()..cursor.at()));
            has_more = cursor.next_entry(b'}')?;
        }
        cursor.end()?;
        let end = members.last().map_or(start, |(_, span)| span.end);
        Ok(Self { members, end })
    }

    /// The position of the value of `key`. Of equal keys the last one counts, as in vLLM.
    pub fn span(&self, key: &str) -> Option<Range<usize>> {
        self.members
            .iter()
            .rev()
            .find(|(name, _)| **name == *key)
            .map(|(_, span)| span.clone())
    }

    /// The value of `key` as raw JSON, from the `text` that the object was read from; `null` counts as absent.
    pub fn get<'t>(&self, text: &'t str, key: &str) -> Option<&'t str> {
        text.get(self.span(key)?).filter(|value| *value != "null")
    }

    /// The first of `keys` that the object holds more than once.
    pub fn repeated<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        keys.iter().copied().find(|key| {
            self.members
                .iter()
                .filter(|(name, _)| **name == **key)
                .count()
                > 1
        })
    }

    /// Where to insert a new member: directly after the last value, or after the brace of an empty object.
    pub fn end(&self) -> usize {
        self.end
    }

    /// True when the object has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_written() {
        let text = " {\"m\\u006fdel\" : \"a\\/b\", \"t\":1.0 ,\"n\":null} ";
        let object = Object::read(text).unwrap();
        assert_eq!(object.get(text, "model"), Some("\"a\\/b\""));
        assert_eq!(object.get(text, "t"), Some("1.0"));
        assert!(object.span("n").is_some() && object.get(text, "n").is_none());
        assert_eq!(&text[object.end()..], "} ");
    }

    #[test]
    fn of_equal_keys_the_last_counts_and_the_repeat_is_found() {
        let text = r#"{"a":1,"\u0061":2,"b":3}"#;
        let object = Object::read(text).unwrap();
        assert_eq!(object.get(text, "a"), Some("2"));
        assert_eq!(object.repeated(&["b", "a"]), Some("a"));
        assert_eq!(object.repeated(&["b"]), None);
    }

    #[test]
    fn deep_nesting_is_no_stack_overflow() {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Object::read(&deep).is_ok());
    }

    #[test]
    fn an_object_with_millions_of_members_is_refused_at_its_1025th() {
        let many = |count: usize| format!("{{{}\"z\":1}}", "\"a\":1,".repeat(count - 1));
        assert!(Object::read(&many(MAX_MEMBERS)).is_ok());
        for count in [MAX_MEMBERS + 1, 4_000_000] {
            let error = Object::read(&many(count)).unwrap_err();
            assert_eq!(error.to_string(), "more than 1024 members");
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let text = "\u{feff}{\"a\":NaN}";
        let object = Object::read(text).unwrap();
        assert_eq!(object.get(text, "a"), Some("NaN"));
        assert_eq!(Object::read("\u{feff} {}").unwrap().end(), 5);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in [
            "",
            "[]",
            "1",
            "{} {}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":\"\u{1}\"}",
            "nul",
        ] {
            assert!(Object::read(text).is_err(), "{text}");
        }
    }
}
