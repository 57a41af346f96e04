//! The model that a request names when we do not judge it: in JSON, or in a field of a multipart form.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::{Object, form_part::is_model_part, media_type::form_boundary};
use crate::error::Error;

/// The most parts that a form may have: starlette, which reads the forms that vLLM gets, takes 1,000 files and 1,000 fields.
const MAX_PARTS: usize = 2_000;
/// The longest head of a part, in bytes: the same as what a server in front of Python takes for a whole request's headers.
const MAX_PART_HEAD_BYTES: usize = 16 << 10;

/// The field in which the body of an unjudged request names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// The model's name.
    pub name: String,
    span: Range<usize>,
    in_json: bool,
}

impl ModelField {
    /// Finds the field, if the body has one. A body that is neither JSON nor multipart has none.
    ///
    /// # Errors
    /// A 400 when the model is named twice or is no string, or when the parts of a form cannot be told apart or read.
    pub fn find(content_type: Option<&str>, body: &Bytes) -> Result<Option<Self>, Error> {
        if let Some(boundary) = content_type.and_then(form_boundary) {
            return in_form(&boundary, body);
        }
        let Some(text) = std::str::from_utf8(body)
            .ok()
            .filter(|text| text.trim_start().starts_with('{'))
        else {
            return Ok(None);
        };
        let Ok(object) = Object::read(text) else {
            return Ok(None); // the server explains better what is wrong with it
        };
        if object.repeated(&["model"]).is_some() {
            return Err(wrong());
        }
        let (Some(value), Some(span)) = (object.get(text, "model"), object.span("model")) else {
            return Ok(None);
        };
        let name: String = serde_json::from_str(value).map_err(|_| wrong())?;
        let field = Self {
            name,
            span,
            in_json: true,
        };
        Ok((!field.name.is_empty()).then_some(field)) // an empty name counts as none, as in vLLM
    }

    /// True when no other reader can find a model where [`ModelField::find`] finds none: the body is empty, a JSON object, or a
    /// form. False for JSON that we cannot read: Python also reads JSON in UTF-16, and JSON that holds `NaN`.
    pub fn has_no_model(content_type: Option<&str>, body: &[u8]) -> bool {
        let is_form = || content_type.and_then(form_boundary).is_some();
        let object = || Object::read(std::str::from_utf8(body).ok()?).ok();
        body.is_empty() || is_form() || object().is_some()
    }

    /// The body with another model's name in the same place.
    pub fn rename(&self, body: &Bytes, name: &str) -> Bytes {
        if name == self.name {
            return body.clone();
        }
        let name = if self.in_json {
            serde_json::Value::from(name).to_string()
        } else {
            name.to_owned()
        };
        [
            &body[..self.span.start],
            name.as_bytes(),
            &body[self.span.end..],
        ]
        .concat()
        .into()
    }
}

fn wrong() -> Error {
    Error::invalid_field("model", "`model` must be one string.")
}

/// Finds the field `model` of a multipart form (RFC 7578) and its position, in one pass over the bytes.
fn in_form(boundary: &str, body: &[u8]) -> Result<Option<ModelField>, Error> {
    let line = format!("\n--{boundary}");
    let delimiter = memmem::Finder::new(line.as_bytes());
    let next = |from: usize| Some(from + delimiter.find(&body[from..])? + line.len());
    let mut found = None;
    let mut parts = 0;
    // The first delimiter may begin the body; every other one begins a line.
    let mut start = match body.starts_with(&line.as_bytes()[1..]) {
        true => Some(line.len() - 1),
        false => next(0),
    };
    while let Some(from) = start {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Error::invalid(format!(
                "The form has more than {MAX_PARTS} parts."
            )));
        }
        let longest = &body[from..body.len().min(from + MAX_PART_HEAD_BYTES + 4)];
        let Some(length) = memmem::find(longest, b"\r\n\r\n") else {
            if body.len() > from + MAX_PART_HEAD_BYTES {
                return Err(Error::invalid(format!(
                    "The form has a part whose head is longer than {MAX_PART_HEAD_BYTES} bytes."
                )));
            }
            break; // the last delimiter, or a part that was cut off
        };
        let value = from + length + 4;
        start = next(value - 1);
        if !is_model_part(&body[from..from + length])? {
            continue;
        }
        if found.is_some() {
            return Err(wrong()); // a server may take the other one
        }
        let Some(next) = start else { break }; // cut off
        let bytes = body.get(value..next - line.len());
        let name = bytes.and_then(|bytes| std::str::from_utf8(bytes.strip_suffix(b"\r")?).ok());
        let name = name.ok_or_else(wrong)?.to_owned();
        found = Some(ModelField {
            span: value..value + name.len(),
            name,
            in_json: false,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_a_form_is_found_and_renamed() {
        let body = Bytes::from(
            "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n\u{1}\u{2}\r\n\
             --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--\r\n",
        );
        let found = ModelField::find(Some("multipart/form-data; boundary=x"), &body)
            .unwrap()
            .unwrap();
        assert_eq!(found.name, "whisper");
        let renamed = String::from_utf8(found.rename(&body, "big").to_vec()).unwrap();
        assert_eq!(
            renamed,
            String::from_utf8(body.to_vec())
                .unwrap()
                .replace("whisper", "big")
        );
    }

    #[test]
    fn a_form_that_names_two_models_is_refused() {
        let part = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
        let body = Bytes::from(format!("{part}a\r\n{part}b\r\n--x--\r\n"));
        assert!(ModelField::find(Some("multipart/form-data; boundary=x"), &body).is_err());
        for other in [
            ";name=\"model\"",
            ";  name = model",
            "; name*=utf-8''model",
            ";\r\n\tname=\"mo\\del\"",
        ] {
            let again = format!("--x\r\nContent-Disposition: form-data{other}\r\n\r\n");
            let body = Bytes::from(format!("{part}a\r\n{again}b\r\n--x--\r\n"));
            let found = ModelField::find(Some("multipart/form-data; boundary=x"), &body);
            assert!(found.is_err(), "{other}");
        }
    }

    #[test]
    fn a_form_made_of_its_own_boundary_is_read_in_one_pass() {
        const SIZE: usize = 32 << 20;
        let began = std::time::Instant::now();
        for (line, end) in [
            ("--x", ""),
            ("--x", "\r\n\r\n"),
            ("--x\r\n", "\r\n"),
            ("\n--x", "\r\n\r\n"),
            ("--x\r\n\r\n", ""),
            ("\r\n--x\r\nname=model", "\r\n\r\n"),
            ("\r\n--x\r\nname=model\r\n\r\n", ""),
            ("\r\n--", ""),
        ] {
            let body = Bytes::from(line.repeat(SIZE / line.len()) + end);
            let found = ModelField::find(Some("multipart/form-data; boundary=x"), &body);
            assert!(!matches!(found, Ok(Some(_))), "{line:?} {end:?}");
        }
        // What grew with the square of the size took hours; all eight take a fraction of a second each.
        assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    }

    #[test]
    fn a_form_with_too_many_parts_or_too_long_a_head_is_refused() {
        let find = |body: String| {
            ModelField::find(Some("multipart/form-data; boundary=x"), &Bytes::from(body))
        };
        let part = |name: &str, value: &str| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let model = part("model", "whisper");
        for (count, is_ok) in [(MAX_PARTS - 2, true), (MAX_PARTS, false)] {
            let form = part("a", "1").repeat(count) + &model + "--x--\r\n";
            assert_eq!(find(form).is_ok(), is_ok, "{count}");
        }
        for (length, is_ok) in [(1 << 10, true), (MAX_PART_HEAD_BYTES, false)] {
            let form = model.replace("form-data", &format!("form-data; a={}", "a".repeat(length)));
            assert_eq!(find(form + "--x--\r\n").is_ok(), is_ok, "{length}");
        }
        // The file is long, not the head.
        let file = part("file", &"\n\n--y".repeat(MAX_PART_HEAD_BYTES));
        let found = find(file + &model + "--x--\r\n").unwrap().unwrap();
        assert_eq!(found.name, "whisper");
    }

    #[test]
    fn a_model_that_cannot_be_read_is_refused() {
        let head = b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\n";
        for value in [&b"\xff"[..], b"a\n--x\r\n\r\nb"] {
            let body = Bytes::from([head, value, b"\r\n--x--\r\n"].concat());
            let found = ModelField::find(Some("multipart/form-data; boundary=x"), &body);
            assert!(found.is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_body_that_we_cannot_read_may_still_name_a_model() {
        let utf16: Vec<u8> = "{\"model\":\"b\"}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (body, absent) in [
            (&b""[..], true),
            (b" {\"input\": 1} ", true),
            (b"{\"model\":\"b\",\"x\":NaN}", false),
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
            (found.name.as_str(), found.rename(&body, "c")),
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
}
