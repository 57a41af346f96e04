//! A chat request: the bytes as the client sent them, and where the fields are that we read or write.

use bytes::Bytes;

use super::{
    Message, Object,
    reasoning_fields::{REASONING_FIELDS, TOP_LEVEL},
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

/// A chat request's bytes and the positions of its top-level fields.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    bytes: Bytes,
    object: Object,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// A 400 that says where the body is not JSON, or which field is repeated or of the wrong type.
    pub fn read(bytes: Bytes) -> Result<Self, Error> {
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::invalid("The request body is not UTF-8."))?;
        let object = Object::read(text).map_err(|error| not_json(text, &error))?;
        if let Some(key) = repeated(&object, &[]) {
            return Err(Error::invalid_field(
                key,
                format!("`{key}` stands in the request more than once."),
            ));
        }
        let request = Self { bytes, object };
        if request
            .get("model")
            .is_some_and(|model| !model.starts_with('"'))
        {
            return Err(Error::invalid_field("model", "`model` must be a string."));
        }
        for group in &REASONING_FIELDS {
            if let Some(parent) = group.parent {
                request.check_object(parent, group.names)?;
            }
        }
        Ok(request)
    }

    /// Checks a field that holds reasoning fields: none of `names` may be repeated in it.
    fn check_object(&self, field: &'static str, names: &[&'static str]) -> Result<(), Error> {
        let wrong = |what: &str| Error::invalid_field(field, format!("`{field}` {what}."));
        let Some(value) = self.get(field) else {
            return Ok(());
        };
        match Object::read(value) {
            Ok(object) if repeated(&object, names).is_some() => {
                Err(wrong("holds a reasoning switch more than once"))
            }
            Ok(_) => Ok(()),
            // We write into the template's variables. Another `reasoning` is for the server to accept or refuse.
            Err(_) if field == "chat_template_kwargs" => Err(wrong("must be an object")),
            Err(_) => Ok(()),
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

    /// The model that the request names, if any. An empty name counts as none, as in vLLM.
    pub fn model(&self) -> Option<String> {
        let name: String = serde_json::from_str(self.get("model")?).ok()?;
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

    /// The conversation.
    ///
    /// # Errors
    /// A 400 when there are no messages or one is malformed.
    pub fn messages(&self) -> Result<Vec<Message<'_>>, Error> {
        let missing = || Error::invalid_field("messages", "`messages` is missing.");
        Message::read_all(self.get("messages").ok_or_else(missing)?)
    }
}

/// The first guarded field, or field of `names`, that `object` holds more than once.
fn repeated(object: &Object, names: &[&'static str]) -> Option<&'static str> {
    [&GUARDED_FIELDS[..], TOP_LEVEL.names, names]
        .into_iter()
        .find_map(|names| object.repeated(names))
}

fn not_json(text: &str, error: &serde_json::Error) -> Error {
    if text.trim().is_empty() {
        return Error::invalid("The request body is empty; a JSON object is expected.");
    }
    Error::invalid(format!("The request body is not a JSON object: {error}."))
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
}
