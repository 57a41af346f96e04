//! The model that a request names when we do not judge it: in JSON, or in a field of a multipart form.

use std::ops::Range;

use bytes::Bytes;

use super::{
    BodyPieces, Object,
    form::find_in_form,
    json_cursor::JsonError,
    limits::MAX_MEMBERS,
    media_type::form_boundary,
    model_name::{not_one, read_model_name},
    text_encoding::wide_encoding,
};
use crate::error::Error;

/// The field in which the body of an unjudged request names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// The model's name.
    pub name: String,
    pub(super) span: Range<usize>,
    pub(super) in_json: bool,
}

impl ModelField {
    /// Finds the field, if the body has one. A body that is neither JSON nor multipart has none.
    ///
    /// # Errors
    /// A 400 when the model is named twice, is no string or is too long, when JSON is in UTF-16 or has too many members, or when
    /// the parts of a form cannot be told apart or read.
    pub fn find(content_type: Option<&str>, body: &Bytes) -> Result<Option<Self>, Error> {
        if body.is_empty() {
            return Ok(None);
        }
        if let Some(boundary) = content_type.map(form_boundary).transpose()?.flatten() {
            let found = find_in_form(&boundary, body)?;
            return Ok(found.map(|(name, span)| Self {
                name,
                span,
                in_json: false,
            }));
        }
        if let Some(encoding) = wide_encoding(body).filter(|_| may_be_json(content_type)) {
            return Err(Error::invalid(format!(
                "The request body is {encoding}; write it in UTF-8."
            )));
        }
        let Ok(text) = std::str::from_utf8(body) else {
            return Ok(None);
        };
        let object = match Object::read(text) {
            Ok(object) => object,
            Err(JsonError::TooManyMembers(_)) => {
                return Err(Error::invalid(format!(
                    "The request has more than {MAX_MEMBERS} fields."
                )));
            }
            Err(JsonError::Malformed { .. }) => return Ok(None), // the server explains better what is wrong with it
        };
        if object.repeated(&["model"]).is_some() {
            return Err(not_one());
        }
        let (Some(value), Some(span)) = (object.get(text, "model"), object.span("model")) else {
            return Ok(None);
        };
        let field = Self {
            name: read_model_name(value)?,
            span,
            in_json: true,
        };
        Ok((!field.name.is_empty()).then_some(field)) // an empty name counts as none, as in vLLM
    }

    /// True when no other reader can find a model where [`ModelField::find`] finds none: the body is empty, a JSON object, or a
    /// form. False for JSON that we cannot read.
    pub fn has_no_model(content_type: Option<&str>, body: &[u8]) -> bool {
        let is_form = || matches!(content_type.map(form_boundary), Some(Ok(Some(_))));
        let object = || Object::read(std::str::from_utf8(body).ok()?).ok();
        body.is_empty() || is_form() || object().is_some()
    }

    /// The body with another model's name in the same place.
    pub fn rename(&self, body: &Bytes, name: &str) -> BodyPieces {
        if name == self.name {
            return body.clone().into();
        }
        let name = if self.in_json {
            serde_json::Value::from(name).to_string()
        } else {
            name.to_owned()
        };
        BodyPieces::replaced(body, vec![(self.span.clone(), name)])
    }
}

/// False for media types that are never JSON: their bytes may look like anything.
fn may_be_json(content_type: Option<&str>) -> bool {
    const NEVER: [&str; 4] = ["audio/", "image/", "video/", "application/octet-stream"];
    let content_type = content_type.unwrap_or_default().to_ascii_lowercase();
    !NEVER
        .iter()
        .any(|never| content_type.trim_start().starts_with(never))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_we_cannot_read_may_still_name_a_model() {
        let utf16: Vec<u8> = "{\"model\":\"b\"}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (body, absent) in [
            (&b""[..], true),
            (b" {\"input\": 1} ", true),
            (b"{\"x\":NaN}", true),
            (b"{\"model\":\"b\",}", false),
            (b"[]", false),
            (&utf16, false),
        ] {
            assert_eq!(ModelField::has_no_model(None, body), absent, "{body:?}");
        }
    }

    #[test]
    fn the_model_in_json_is_found_and_renamed() {
        let body = Bytes::from_static(b"{\"input\": 1.0,\"model\" : \"a\\/b\" }");
        let found = ModelField::find(Some("application/json"), &body)
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.name.as_str(), found.rename(&body, "c").into_bytes()),
            (
                "a/b",
                Bytes::from_static(b"{\"input\": 1.0,\"model\" : \"c\" }")
            )
        );
        assert_eq!(
            ModelField::find(None, &Bytes::from_static(b"{\"input\":1}")).unwrap(),
            None
        );
        assert_eq!(
            ModelField::find(None, &Bytes::from_static(b"not json")).unwrap(),
            None
        );
        assert!(ModelField::find(None, &Bytes::from_static(b"{\"model\":1}")).is_err());
        assert!(
            ModelField::find(
                None,
                &Bytes::from_static(b"{\"model\":\"a\",\"model\":\"b\"}")
            )
            .is_err()
        );
    }

    #[test]
    fn json_as_fastapi_takes_it_is_read() {
        for body in [
            "\u{feff}{\"model\":\"a\"}",
            "{\"x\":[NaN,-Infinity],\"model\":\"a\"}",
            "{\"t\":\"\\ud83d\",\"model\":\"a\"}",
        ] {
            let bytes = Bytes::from(body.to_owned());
            let found = ModelField::find(None, &bytes).unwrap().unwrap();
            let renamed = found.rename(&bytes, "b").into_bytes();
            assert_eq!(renamed, body.replace("\"a\"", "\"b\""), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let utf16: Vec<u8> = "{\"model\":\"b\"}"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let many = format!("{{{}\"model\":\"b\"}}", "\"a\":1,".repeat(MAX_MEMBERS));
        let long = format!("{{\"model\":\"{}\"}}", "a".repeat(513));
        for (body, said) in [
            (utf16.clone(), "UTF-16"),
            (many.into(), "1024 fields"),
            (long.into(), "512 bytes"),
            (b"{\"model\":\"\\ud83d\"}".to_vec(), "surrogate"),
        ] {
            let error = ModelField::find(Some("application/json"), &body.into()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        assert_eq!(ModelField::find(Some("audio/wav"), &utf16.into()), Ok(None));
    }
}
