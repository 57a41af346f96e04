//! The messages of a chat request: their roles and texts.

use std::borrow::Cow;

use super::{
    json_cursor::{JsonCursor, JsonError},
    json_string::{append_unescaped, is_key, unescaped},
    limits::{MAX_CONTENT_PARTS, MAX_MESSAGES},
};
use crate::error::Error;

/// One message, borrowed from the request's bytes. Only its role and its texts are read.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// `system`, `user`, `assistant`, `tool`, or any other role that the client wrote.
    pub role: Cow<'a, str>,
    /// The raw JSON of its content; empty where it has none.
    pub content: &'a str,
}

impl<'a> Message<'a> {
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
        text_of(self.content)
    }

    /// The last text of the message as raw JSON, quotes included.
    pub fn last_text(&self) -> Option<&'a str> {
        texts(self.content).last()
    }
}

/// The text of a message's content, from its raw JSON.
pub fn text_of(content: &str) -> Cow<'_, str> {
    let mut all = texts(content);
    let (Some(first), second) = (all.next(), all.next()) else {
        return Cow::Borrowed("");
    };
    let first = unescaped(first);
    let Some(second) = second else {
        return first;
    };
    let mut joined = first.into_owned();
    for text in [second].into_iter().chain(all) {
        joined.push('\n');
        append_unescaped(&mut joined, text);
    }
    Cow::Owned(joined)
}

/// The texts of a content as JSON strings with their quotes: one of a plain content, one of each text part.
fn texts(content: &str) -> impl Iterator<Item = &str> {
    let plain = content.starts_with('"').then_some(content);
    let parts = Parts::of(content).filter_map(|part| part.ok().flatten());
    plain.into_iter().chain(parts)
}

/// The parts of a content that is an array: the text of each that has one. Empty for any other content.
struct Parts<'a> {
    cursor: JsonCursor<'a>,
    /// Whether another part follows; `Err` at the start.
    has_more: Result<bool, ()>,
}

impl<'a> Parts<'a> {
    fn of(content: &'a str) -> Self {
        Self {
            cursor: JsonCursor::new(content),
            has_more: match content.starts_with('[') {
                true => Err(()),
                false => Ok(false),
            },
        }
    }

    fn read_next(&mut self) -> Result<Option<&'a str>, JsonError> {
        let text = match self.cursor.peek() {
            Some(b'"') => Some(self.cursor.value()?), // vLLM takes bare strings as text parts
            _ => {
                let MessageFields {
                    values: [text],
                    is_repeated,
                } = MessageFields::read(&mut self.cursor, ["text"])?;
                if is_repeated {
                    return Err(self.cursor.expected("one `text` in a part"));
                }
                text
            }
        };
        Ok(text.filter(|text| text.starts_with('"')))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<Option<&'a str>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        let has_more = match self.has_more {
            Err(()) => self.cursor.enter(b'[', b']'),
            Ok(false) => return None,
            Ok(true) => self.cursor.next_entry(b']'),
        };
        self.has_more = Ok(matches!(has_more, Ok(true)));
        match has_more {
            Ok(true) => {
                let part = self.read_next();
                self.has_more = Ok(part.is_ok());
                Some(part)
            }
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Some fields of an object, as raw JSON.
struct MessageFields<'a, const N: usize> {
    values: [Option<&'a str>; N],
    /// True when one of them stands there more than once.
    is_repeated: bool,
}

impl<'a, const N: usize> MessageFields<'a, N> {
    /// Reads the object at the cursor; `null` counts as absent.
    fn read(cursor: &mut JsonCursor<'a>, names: [&str; N]) -> Result<Self, JsonError> {
        let mut values = [None; N];
        let mut is_repeated = false;
        let mut has_more = cursor.enter(b'{', b'}')?;
        while has_more {
            let key = cursor.key()?;
            let value = cursor.value()?;
            for (name, slot) in names.iter().zip(&mut values) {
                if is_key(key, name) {
                    is_repeated |= slot.replace(value).is_some();
                }
            }
            has_more = cursor.next_entry(b'}')?;
        }
        let values = values.map(|value| value.filter(|value| *value != "null"));
        Ok(Self {
            values,
            is_repeated,
        })
    }
}

/// The messages of a request, read one after the other. It ends behind the first error.
#[derive(Debug)]
pub struct Messages<'a> {
    cursor: JsonCursor<'a>,
    index: usize,
    parts: usize,
    is_over: bool,
}

impl<'a> Messages<'a> {
    /// Of the raw JSON of `messages`.
    pub fn of(messages: &'a str) -> Self {
        Self {
            cursor: JsonCursor::new(messages),
            index: 0,
            parts: 0,
            is_over: false,
        }
    }

    fn read_next(&mut self) -> Result<Option<Message<'a>>, Error> {
        let wrong = |message: String| Error::invalid_field("messages", message);
        let not_array = |_| wrong("`messages` must be an array of messages.".to_owned());
        let has_more = match self.index {
            0 => self.cursor.enter(b'[', b']'),
            _ => self.cursor.next_entry(b']'),
        };
        match (has_more.map_err(not_array)?, self.index) {
            (false, 0) => Err(wrong("`messages` must hold at least one message.".into())),
            (false, _) => Ok(None),
            (true, MAX_MESSAGES) => Err(wrong(format!(
                "`messages` holds more than {MAX_MESSAGES} messages."
            ))),
            (true, index) => {
                self.index += 1;
                self.read_message(index).map(Some)
            }
        }
    }

    fn read_message(&mut self, index: usize) -> Result<Message<'a>, Error> {
        if self.cursor.peek() != Some(b'{') {
            return Err(message_error(index, "", "must be an object"));
        }
        let mistyped =
            || message_error(index, "", "has a repeated or mistyped `role` or `content`");
        let fields =
            MessageFields::read(&mut self.cursor, ["role", "content"]).map_err(|_| mistyped())?;
        let [role, content] = fields.values;
        let role = role.ok_or_else(|| message_error(index, ".role", "is missing"))?;
        if fields.is_repeated || !role.starts_with('"') {
            return Err(mistyped());
        }
        if let Some(content) = content {
            self.check_content(index, content)?;
        }
        Ok(Message {
            role: unescaped(role),
            content: content.unwrap_or_default(),
        })
    }

    fn check_content(&mut self, index: usize, content: &str) -> Result<(), Error> {
        let what = "must be a string, an array of parts, or null";
        let not_content = || message_error(index, ".content", what);
        if !matches!(content.as_bytes().first(), Some(b'"' | b'[')) {
            return Err(not_content());
        }
        for part in Parts::of(content) {
            part.map_err(|_| not_content())?;
            self.parts += 1;
            if self.parts > MAX_CONTENT_PARTS {
                let message =
                    format!("`messages` holds more than {MAX_CONTENT_PARTS} content parts.");
                return Err(Error::invalid_field("messages", message));
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let read = self.read_next();
        self.is_over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// The error for an invalid message or field of a message.
fn message_error(index: usize, field: &str, what: &str) -> Error {
    let at = format!("messages[{index}]{field}");
    Error::invalid_field(at.clone(), format!("`{at}` {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Vec<String> {
        Messages::of(json)
            .map(|message| message.unwrap().text().into_owned())
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
            texts(r#"[{"role":"user","content":"caf\u00e9 \ud83d\n/no_think"}]"#),
            ["café \u{fffd}\n/no_think"]
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
            let Error::Invalid { param: got, .. } =
                Messages::of(json).find_map(Result::err).unwrap()
            else {
                panic!("{json}")
            };
            assert_eq!(got.as_deref(), Some(param), "{json}");
        }
    }

    #[test]
    fn millions_of_messages_or_parts_are_refused_at_the_first_too_many() {
        let first_error = |json: &str| Messages::of(json).find_map(Result::err);
        let messages = |count: usize| {
            format!(
                "[{}{{\"role\":\"\"}}]",
                "{\"role\":\"\"},".repeat(count - 1)
            )
        };
        assert_eq!(first_error(&messages(MAX_MESSAGES)), None);
        let error = first_error(&messages(MAX_MESSAGES + 1)).unwrap();
        assert_eq!(
            error.to_string(),
            "`messages` holds more than 1048576 messages."
        );
        // All messages together.
        let parts = |count: usize| {
            let half = format!("{}\"\"", "\"\",".repeat(count / 2 - 1));
            format!(
                "[{{\"role\":\"user\",\"content\":[{half}]}},{{\"role\":\"user\",\"content\":[{half}]}}]"
            )
        };
        assert_eq!(first_error(&parts(MAX_CONTENT_PARTS)), None);
        let error = first_error(&parts(MAX_CONTENT_PARTS + 2)).unwrap();
        assert_eq!(
            error.to_string(),
            "`messages` holds more than 1048576 content parts."
        );
    }

    #[test]
    fn only_the_fields_that_are_read_may_not_be_repeated() {
        assert_eq!(
            texts(r#"[{"role":"user","content":"x","name":1,"name":2}]"#),
            ["x"]
        );
        let twice = r#"[{"role":"user","content":[{"type":"text","text":"a","t\u0065xt":"b"}]}]"#;
        assert!(Messages::of(twice).any(|message| message.is_err()));
    }
}
