//! A chat request: the bytes as the client sent them, and where the fields are that we read or write.

use std::{borrow::Cow, sync::OnceLock};

use bytes::Bytes;

use super::{
    Messages, Object,
    json_cursor::JsonError,
    limits::MAX_MEMBERS,
    model_name::read_model_name,
    reasoning_fields::{REASONING_FIELDS, TOP_LEVEL},
    text_encoding::wide_encoding,
};
use crate::error::Error;

/// The fields that we read or write beside the reasoning fields. None of them may be repeated: a server takes the last of two
/// equal keys and another reader may take the first, so a repeated key could show two readers two different requests.
const GUARDED_FIELDS: [&str; 6] = [
    "model",
    "messages",
    "chat_template_kwargs",
    "reasoning",
    "max_tokens",
    "max_completion_tokens",
];

/// The fields of a top-level object that a family's switch sets beside the reasoning fields.
const THINKING: (&str, &[&str]) = ("thinking", &["type"]);

/// A chat request's bytes and the positions of its top-level fields.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    bytes: Bytes,
    object: Object,
    /// The objects that hold reasoning fields, with their names.
    nested: Vec<(&'static str, Object)>,
    /// Where a switch in a text is appended; searched for when it is first needed.
    append_points: OnceLock<AppendPoints>,
}

/// Where text can be appended to messages: the positions of the closing quotes.
#[derive(Debug, Clone, Default)]
pub(super) struct AppendPoints {
    /// Of the last text of the last message of the user.
    pub last_user: Option<usize>,
    /// Of the last text of the first system prompt.
    pub system: Option<usize>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// A 400 that says where the body is not JSON, which field is repeated, of the wrong type or too long, or of what there is too
    /// much.
    pub fn read(bytes: Bytes) -> Result<Self, Error> {
        let text = std::str::from_utf8(&bytes).map_err(|_| not_utf8(&bytes))?;
        let object = Object::read(text).map_err(|error| not_json(text, &error))?;
        if let Some(key) = repeated(&object, &[]) {
            return Err(Error::invalid_field(
                key,
                format!("`{key}` stands in the request more than once."),
            ));
        }
        let mut request = Self {
            bytes,
            object,
            nested: Vec::new(),
            append_points: OnceLock::new(),
        };
        if let Some(model) = request.get("model") {
            read_model_name(model)?;
        }
        let parents = REASONING_FIELDS
            .iter()
            .filter_map(|group| Some((group.parent?, group.names)));
        for (parent, names) in parents.chain([THINKING]) {
            if let Some(object) = request.read_nested(parent, names)? {
                request.nested.push((parent, object));
            }
        }
        Ok(request)
    }

    /// Reads a field that holds reasoning fields: none of `names` may be repeated in it. `None` for one that is no object.
    fn read_nested(
        &self,
        field: &'static str,
        names: &[&'static str],
    ) -> Result<Option<Object>, Error> {
        let wrong = |what: &str| Error::invalid_field(field, format!("`{field}` {what}."));
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        match Object::read(value) {
            Ok(object) if repeated(&object, names).is_some() => {
                Err(wrong("holds a reasoning switch more than once"))
            }
            Ok(object) => Ok(Some(object)),
            Err(JsonError::TooManyMembers(most)) => {
                Err(wrong(&format!("holds more than {most} members")))
            }
            // We write into the template's variables. Another `reasoning` is for the server to accept or refuse.
            Err(_) if field == "chat_template_kwargs" => Err(wrong("must be an object")),
            Err(_) => Ok(None),
        }
    }

    /// The bytes as the client sent them.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default() // checked when it was read
    }

    /// The positions of the top-level fields.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// A top-level field as raw JSON; `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&str> {
        let span = self.object.span(key)?;
        std::str::from_utf8(&self.bytes[span])
            .ok()
            .filter(|value| *value != "null")
    }

    /// A top-level field that is an object, and the position of its value.
    pub fn nested(&self, key: &str) -> Option<(Cow<'_, Object>, usize)> {
        let start = self.object.span(key)?.start;
        let known = self.nested.iter().find(|(name, _)| *name == key);
        match known {
            Some((_, object)) => Some((Cow::Borrowed(object), start)),
            None => Some((Cow::Owned(Object::read(self.get(key)?).ok()?), start)),
        }
    }

    /// The model that the request names, if any. An empty name counts as none, as in vLLM.
    pub fn model(&self) -> Option<String> {
        let name = read_model_name(self.get("model")?).ok()?; // checked when the request was read
        (!name.is_empty()).then_some(name)
    }

    /// The most tokens the answer may have, reasoning included. As in vLLM, `max_completion_tokens` comes before
    /// `max_tokens`. `None` for a value that is no count: some servers take -1 for "no limit".
    pub fn token_limit(&self) -> Option<u64> {
        let limit = self
            .get("max_completion_tokens")
            .or_else(|| self.get("max_tokens"))?;
        let tokens: f64 = serde_json::from_str(limit).ok()?; // 100.0 is a whole number to servers in Python
        (tokens >= 0.0).then_some(tokens as u64)
    }

    /// True when the client wants the answer as a stream of events.
    pub fn streams(&self) -> bool {
        self.get("stream") == Some("true")
    }

    /// The conversation, message by message. The iterator ends behind the first error, a 400: there are no messages or too many, or
    /// one is malformed.
    ///
    /// # Errors
    /// A 400 when `messages` is missing.
    pub fn messages(&self) -> Result<Messages<'_>, Error> {
        let missing = || Error::invalid_field("messages", "`messages` is missing.");
        Ok(Messages::of(self.get("messages").ok_or_else(missing)?))
    }

    /// Where text is appended to messages. Found by a walk over all of them, once.
    pub(super) fn append_points(&self) -> &AppendPoints {
        self.append_points.get_or_init(|| {
            let mut points = AppendPoints::default();
            let mut is_system_known = false;
            for message in self.messages().into_iter().flatten().flatten() {
                let quote = || {
                    let text = message.last_text()?;
                    Some(text.as_ptr() as usize - self.bytes.as_ptr() as usize + text.len() - 1)
                };
                if message.is_user() {
                    points.last_user = quote();
                } else if !is_system_known && matches!(&*message.role, "system" | "developer") {
                    is_system_known = true;
                    points.system = quote();
                }
            }
            points
        })
    }

    /// Walks now over what an edit would walk over later, so that a long request is not walked over where others wait.
    pub fn prepare_edits(&self) {
        self.append_points();
    }
}

/// The first guarded field, or field of `names`, that `object` holds more than once.
fn repeated(object: &Object, names: &[&'static str]) -> Option<&'static str> {
    [&GUARDED_FIELDS[..], TOP_LEVEL.names, names]
        .into_iter()
        .find_map(|names| object.repeated(names))
}

fn not_utf8(bytes: &[u8]) -> Error {
    Error::invalid(match wide_encoding(bytes) {
        Some(encoding) => format!("The request body is {encoding}; write it in UTF-8."),
        None => "The request body is not UTF-8.".to_owned(),
    })
}

fn not_json(text: &str, error: &JsonError) -> Error {
    if text.trim().is_empty() {
        return Error::invalid("The request body is empty; a JSON object is expected.");
    }
    if let JsonError::TooManyMembers(_) = error {
        return Error::invalid(format!("The request has more than {MAX_MEMBERS} fields."));
    }
    // UTF-16 without a mark is UTF-8 with zeros.
    match wide_encoding(text.as_bytes()) {
        Some(_) => not_utf8(text.as_bytes()),
        None => Error::invalid(format!("The request body is not a JSON object: {error}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &'static str) -> Result<ChatRequest, Error> {
        ChatRequest::read(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn a_repeated_key_that_we_care_about_is_refused_and_any_other_is_not() {
        for body in [
            r#"{"model":"a","m\u006fdel":"b","messages":[]}"#,
            r#"{"messages":[],"messages":[]}"#,
            r#"{"think":true,"think":false}"#,
            r#"{"chat_template_kwargs":{"thinking":true,"thinking":false}}"#,
            r#"{"chat_template_kwargs":{"low_effort":true,"low_effort":false}}"#,
            r#"{"chat_template_kwargs":{"thinking_effort":"low","thinking\u005feffort":"high"}}"#,
            r#"{"chat_template_kwargs":{"thinking_mode":"on","thinking_mode":"off"}}"#,
            r#"{"reasoning":{"effort":"none","effort":"high"}}"#,
            r#"{"reasoning":{"max_tokens":0,"max_tokens":9000}}"#,
        ] {
            assert!(
                read(body)
                    .unwrap_err()
                    .to_string()
                    .contains("more than once"),
                "{body}"
            );
        }
        for body in [
            r#"{"seed":1,"seed":2}"#,
            r#"{"chat_template_kwargs":{"date":1,"date":2}}"#,
            r#"{"reasoning":{"summary":"auto","summary":"auto"}}"#,
            r#"{"reasoning":"high"}"#,
        ] {
            assert!(read(body).is_ok(), "{body}");
        }
    }

    #[test]
    fn the_model_is_unescaped() {
        assert_eq!(
            read(r#"{"model":"Qwen\/Qwen3-8B"}"#)
                .unwrap()
                .model()
                .unwrap(),
            "Qwen/Qwen3-8B"
        );
        assert_eq!(read(r#"{"model":null}"#).unwrap().model(), None);
        assert_eq!(read(r#"{"model":""}"#).unwrap().model(), None);
    }

    #[test]
    fn the_limit_of_tokens_is_read_as_servers_read_it() {
        for (body, limit) in [
            (r#"{"max_tokens":60}"#, Some(60)),
            (r#"{"max_tokens":60.0}"#, Some(60)),
            (
                r#"{"max_tokens":9000,"max_completion_tokens":60}"#,
                Some(60),
            ),
            (
                r#"{"max_tokens":60,"max_completion_tokens":null}"#,
                Some(60),
            ),
            (r#"{"max_tokens":1e300}"#, Some(u64::MAX)),
            (r#"{"max_tokens":-1}"#, None),
            (r#"{"max_tokens":"many"}"#, None),
            ("{}", None),
        ] {
            assert_eq!(read(body).unwrap().token_limit(), limit, "{body}");
        }
        assert!(read(r#"{"max_tokens":60,"max_tokens":9000}"#).is_err());
    }

    #[test]
    fn only_true_asks_for_a_stream() {
        assert!(read(r#"{"stream": true }"#).unwrap().streams());
        for body in ["{}", r#"{"stream":false}"#, r#"{"stream":null}"#] {
            assert!(!read(body).unwrap().streams(), "{body}");
        }
    }

    #[test]
    fn wrong_types_are_named() {
        for (body, param) in [
            (r#"{"model":5}"#, "model"),
            (r#"{"chat_template_kwargs":[]}"#, "chat_template_kwargs"),
            (r#"{"model":"m"}"#, "messages"),
        ] {
            let error = read(body)
                .and_then(|request| request.messages().map(drop))
                .unwrap_err();
            let Error::Invalid { param: got, .. } = error else {
                panic!("{body}")
            };
            assert_eq!(got.as_deref(), Some(param));
        }
    }

    #[test]
    fn what_fastapi_takes_is_read() {
        for body in [
            "\u{feff}{\"model\":\"m\"}",
            "{\"logit_bias\":{\"5\":-Infinity},\"model\":\"m\",\"x\":[NaN]}",
            "{\"user\":\"\\ud83d\",\"model\":\"m\"}",
        ] {
            let request = read(body).unwrap();
            assert_eq!(
                (request.model().as_deref(), request.text()),
                (Some("m"), body)
            );
        }
        assert_eq!(read("{\"max_tokens\":NaN}").unwrap().token_limit(), None);
    }

    #[test]
    fn utf_16_and_utf_32_are_refused_by_name() {
        let json = "{\"model\":\"m\",\"messages\":[]}";
        for (bytes, encoding) in [
            (
                json.encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect::<Vec<u8>>(),
                "UTF-16",
            ),
            (
                ("\u{feff}".to_owned() + json)
                    .encode_utf16()
                    .flat_map(u16::to_be_bytes)
                    .collect(),
                "UTF-16",
            ),
            (
                json.chars()
                    .flat_map(|letter| u32::from(letter).to_be_bytes())
                    .collect(),
                "UTF-32",
            ),
        ] {
            let error = ChatRequest::read(bytes.into()).unwrap_err().to_string();
            assert!(error.contains(encoding), "{error}");
        }
        let error = ChatRequest::read(Bytes::from_static(b"{\"a\":\"\xe9\"}")).unwrap_err();
        assert_eq!(error.to_string(), "The request body is not UTF-8.");
    }

    #[test]
    fn too_much_of_anything_is_refused_by_the_name_of_its_limit() {
        let many = |count: usize| "\"a\":1,".repeat(count) + "\"z\":1";
        for (body, said) in [
            (format!("{{{}}}", many(MAX_MEMBERS)), "1024 fields"),
            (
                format!("{{\"chat_template_kwargs\":{{{}}}}}", many(MAX_MEMBERS)),
                "1024 members",
            ),
            (
                format!("{{\"reasoning\":{{{}}}}}", many(MAX_MEMBERS)),
                "1024 members",
            ),
            (
                format!("{{\"thinking\":{{{}}}}}", many(MAX_MEMBERS)),
                "1024 members",
            ),
            (
                format!("{{\"model\":\"{}\"}}", "m".repeat(513)),
                "512 bytes",
            ),
        ] {
            let error = ChatRequest::read(body.into()).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(ChatRequest::read(format!("{{{}}}", many(MAX_MEMBERS - 1)).into()).is_ok());
    }

    #[test]
    fn a_model_that_cannot_be_read_is_no_missing_model() {
        assert!(read(r#"{"model":"qwen\ud83d"}"#).is_err());
    }
}
