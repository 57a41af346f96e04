//! A chat request, read once: the bytes as the client sent them and where the fields lie that we read or write.

use bytes::Bytes;

use super::{Message, Object};
use crate::error::Error;

/// The top-level fields that we read or write. Of each there may be only one: a server takes the last of two equal keys, a
/// scanner in front of it might take the first, and such a difference is how filters are fooled.
const GUARDED_FIELDS: [&str; 13] = [
    "model",
    "messages",
    "chat_template_kwargs",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "think",
    "enable_thinking",
    "thinking_budget",
    "thinking_token_budget",
    "reasoning_budget",
    "max_tokens",
    "max_completion_tokens",
];

/// A chat request's bytes and the places of its top-level fields.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    bytes: Bytes,
    object: Object,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// A 400 that says where the body stops being JSON, or which field is repeated or of the wrong type.
    pub fn read(bytes: Bytes) -> Result<Self, Error> {
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Error::invalid("The request body is not UTF-8."))?;
        let object = Object::read(text).map_err(|error| not_json(text, &error))?;
        if let Some(key) = object.repeated(&GUARDED_FIELDS) {
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
        if let Some(kwargs) = request.get("chat_template_kwargs") {
            let wrong = |what: &str| {
                Error::invalid_field(
                    "chat_template_kwargs",
                    format!("`chat_template_kwargs` {what}."),
                )
            };
            let kwargs = Object::read(kwargs).map_err(|_| wrong("must be an object"))?;
            if kwargs
                .repeated(&GUARDED_FIELDS)
                .or_else(|| kwargs.repeated(&["thinking_mode"]))
                .is_some()
            {
                return Err(wrong("holds a reasoning switch more than once"));
            }
        }
        Ok(request)
    }

    /// The bytes as the client sent them.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default() // checked when it was read
    }

    /// Where the top-level fields lie.
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

    /// The model the client asked for, if it named one. An empty name is none, as for vLLM.
    pub fn model(&self) -> Option<String> {
        let name: String = serde_json::from_str(self.get("model")?).ok()?;
        (!name.is_empty()).then_some(name)
    }

    /// The most tokens the answer may have, thoughts included. As for vLLM, `max_completion_tokens` goes before `max_tokens`;
    /// a value that is no count (-1 is "no limit" to some servers) is the server's to understand.
    pub fn token_limit(&self) -> Option<u64> {
        let limit = self
            .get("max_completion_tokens")
            .or_else(|| self.get("max_tokens"))?;
        let tokens: f64 = serde_json::from_str(limit).ok()?; // 100.0 is a whole number to servers in Python
        (tokens >= 0.0).then_some(tokens as u64)
    }

    /// True when the answer is to come as a stream of events.
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
            r#"{"chat_template_kwargs":{"thinking":true,"thinking":false}}"#,
        ] {
            assert!(
                read(body)
                    .unwrap_err()
                    .to_string()
                    .contains("more than once"),
                "{body}"
            );
        }
        assert!(read(r#"{"seed":1,"seed":2}"#).is_ok());
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
    fn a_stream_is_asked_for_by_true_alone() {
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
