//! The messages of a chat request: their roles and texts.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::error::Error;

/// One message, borrowed from the request's bytes. Only its role and its texts are read.
#[derive(Debug)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, `tool`, or any other role that the client wrote.
    pub role: Cow<'a, str>,
    /// The texts of the message as JSON strings with their quotes: one for a plain content, one for each text part.
    texts: Vec<&'a str>,
    /// True when the content is a string rather than an array of parts (or nothing).
    pub plain: bool,
}

#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// A message that is written as an object; `RawMessage` alone would also accept an array.
struct ObjectMessage<'a>(RawMessage<'a>);

impl<'de> Deserialize<'de> for ObjectMessage<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = ObjectMessage<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                RawMessage::deserialize(MapAccessDeserializer::new(map)).map(ObjectMessage)
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

impl<'a> Message<'a> {
    /// Reads the `messages` value of a chat request.
    ///
    /// # Errors
    /// A 400 that names the invalid message: not an array, an empty array, an entry that is no object, a missing role, a
    /// content that is neither text nor parts nor null.
    pub fn read_all(messages: &'a str) -> Result<Vec<Self>, Error> {
        let wrong = |message: &str| Error::invalid_field("messages", message);
        if !messages.starts_with('[') {
            return Err(wrong("`messages` must be an array of messages."));
        }
        // Nearly all arrays are valid and read in one pass. In an invalid one, the message at fault is found one by one.
        let read = match serde_json::from_str::<Vec<ObjectMessage>>(messages) {
            Ok(entries) => entries
                .into_iter()
                .enumerate()
                .map(|(index, ObjectMessage(raw))| Self::of(index, raw))
                .collect(),
            Err(_) => Self::one_by_one(messages),
        };
        match read {
            Ok(none) if none.is_empty() => Err(wrong("`messages` must hold at least one message.")),
            read => read,
        }
    }

    fn one_by_one(messages: &'a str) -> Result<Vec<Self>, Error> {
        let entries: Vec<&RawValue> = serde_json::from_str(messages).map_err(|_| {
            Error::invalid_field("messages", "`messages` must be an array of messages.")
        })?;
        entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| Self::read(index, entry.get()))
            .collect()
    }

    fn read(index: usize, entry: &'a str) -> Result<Self, Error> {
        if !entry.starts_with('{') {
            return Err(message_error(index, "", "must be an object"));
        }
        let mistyped = "has a repeated or mistyped `role` or `content`";
        let raw = serde_json::from_str(entry).map_err(|_| message_error(index, "", mistyped))?;
        Self::of(index, raw)
    }

    fn of(index: usize, raw: RawMessage<'a>) -> Result<Self, Error> {
        let role = raw
            .role
            .ok_or_else(|| message_error(index, ".role", "is missing"))?;
        let content = raw.content.map_or("null", RawValue::get);
        let what = "must be a string, an array of parts, or null";
        let not_content = || message_error(index, ".content", what);
        let texts = match content.as_bytes().first() {
            Some(b'"') => vec![content],
            Some(b'[') => texts_of_parts(content).ok_or_else(not_content)?,
            Some(b'n') => Vec::new(),
            _ => return Err(not_content()),
        };
        Ok(Self {
            role,
            texts,
            plain: content.starts_with('"'),
        })
    }

    /// True for a message of the user.
    pub fn is_user(&self) -> bool {
        self.role == "user"
    }

    /// True for the result of a tool call; `function` is the old spelling.
    pub fn is_tool_result(&self) -> bool {
        matches!(self.role.as_ref(), "tool" | "function")
    }

    /// The text of the message: its text parts, joined by line breaks. Images and other parts do not count.
    pub fn text(&self) -> Cow<'a, str> {
        match self.texts.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => decode(one),
            many => Cow::Owned(
                many.iter()
                    .map(|text| decode(text))
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
        }
    }

    /// The last text of the message as raw JSON, quotes included.
    pub fn last_text(&self) -> Option<&'a str> {
        self.texts.last().copied()
    }
}

/// The error for an invalid message or field of a message.
fn message_error(index: usize, field: &str, what: &str) -> Error {
    let at = format!("messages[{index}]{field}");
    Error::invalid_field(at.clone(), format!("`{at}` {what}."))
}

fn texts_of_parts(content: &str) -> Option<Vec<&str>> {
    let parts: Vec<&RawValue> = serde_json::from_str(content).ok()?;
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        let part = part.get();
        match part.as_bytes().first() {
            Some(b'"') => texts.push(part), // vLLM takes bare strings as text parts
            Some(b'{') => {
                let Part { text } = serde_json::from_str(part).ok()?;
                texts.extend(text.map(RawValue::get).filter(|text| text.starts_with('"')));
            }
            _ => return None,
        }
    }
    Some(texts)
}

/// Decodes a JSON string. A lone surrogate, which Python servers accept, stays escaped.
fn decode(json: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    match serde_json::from_str(json) {
        Ok(Text(text)) => text,
        Err(_) => Cow::Borrowed(json.trim_matches('"')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Vec<String> {
        Message::read_all(json)
            .unwrap()
            .iter()
            .map(|m| m.text().into_owned())
            .collect()
    }

    #[test]
    fn strings_parts_and_null_are_read() {
        let json = r#"[{"role":"system","content":"s"},
            {"role":"user","content":[{"type":"text","text":"a\n"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"b"}]},
            {"role":"assistant","content":null,"tool_calls":[]},{"content":"\ud83d\ude00","role":"user"},{"role":"assistant"}]"#;
        assert_eq!(texts(json), ["s", "a\n\nb", "", "😀", ""]);
    }

    #[test]
    fn a_lone_surrogate_is_no_error() {
        assert_eq!(
            texts(r#"[{"role":"user","content":"a\ud83d"}]"#),
            ["a\\ud83d"]
        );
    }

    #[test]
    fn the_message_at_fault_is_named() {
        for (json, param) in [
            ("{}", "messages"),
            ("[]", "messages"),
            ("[1]", "messages[0]"),
            (r#"[{"role":"user"},["user","x"]]"#, "messages[1]"),
            (
                r#"[{"role":"user","content":"x","role":"user"}]"#,
                "messages[0]",
            ),
            (r#"[{"role":"user"},{"content":"x"}]"#, "messages[1].role"),
            (r#"[{"role":"user","content":5}]"#, "messages[0].content"),
            (
                r#"[{"role":"user","content":{"a":1}}]"#,
                "messages[0].content",
            ),
            (r#"[{"role":"user","content":[5]}]"#, "messages[0].content"),
            (r#"[{"role":7,"content":"x"}]"#, "messages[0]"),
        ] {
            let Error::Invalid { param: got, .. } = Message::read_all(json).unwrap_err() else {
                panic!("{json}")
            };
            assert_eq!(got.as_deref(), Some(param), "{json}");
        }
    }
}
