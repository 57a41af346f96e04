//! The members of one JSON object and the positions of their values in the bytes, read in one pass.
//!
//! Values are not decoded: `1.0`, `1e3`, escapes, whitespace and key order stay what the client wrote. Keys are compared
//! unescaped, because for the server `"m\u006fdel"` is `model`.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The positions of a JSON object's values in the text that it was read from. It holds no text itself, so that it can be
/// stored next to the bytes.
#[derive(Debug, Clone)]
pub struct Object {
    members: Vec<(Box<str>, Range<usize>)>,
    end: usize,
}

impl Object {
    /// Reads `text`, which must be one JSON object and nothing else but whitespace.
    ///
    /// # Errors
    /// The error of `serde_json` at the first position that is not JSON.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let Members(members) = serde_json::from_str(text)?;
        let start = text.as_ptr() as usize;
        let members: Vec<_> = members
            .into_iter()
            .map(|(key, value)| {
                let offset = value.as_ptr() as usize - start; // `value` borrows from `text`
                (key, offset..offset + value.len())
            })
            .collect();
        let brace = || text.find('{').map_or(0, |brace| brace + 1);
        let end = members.last().map_or_else(brace, |(_, span)| span.end);
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

struct Members<'a>(Vec<(Box<str>, &'a str)>);

#[derive(Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(MemberName(key)) = map.next_key()? {
                    members.push((key.into(), map.next_value::<&RawValue>()?.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
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
