//! The model named by a request we do not judge: in JSON, or in a field of a multipart upload.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::Object;
use crate::error::Error;

/// Where the body of an unjudged request names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedModel {
    /// The name.
    pub name: String,
    span: Range<usize>,
    in_json: bool,
}

impl NamedModel {
    /// Finds the name, if the body has one. A body that is neither JSON nor multipart has none.
    ///
    /// # Errors
    /// A 400 when the model is named twice or is no string.
    pub fn find(content_type: Option<&str>, body: &Bytes) -> Result<Option<Self>, Error> {
        if let Some(boundary) = boundary(content_type) {
            return in_upload(&boundary, body);
        }
        let Some(text) = std::str::from_utf8(body)
            .ok()
            .filter(|text| text.trim_start().starts_with('{'))
        else {
            return Ok(None);
        };
        let Ok(object) = Object::read(text) else {
            return Ok(None);
        }; // the server says it better
        if object.repeated(&["model"]).is_some() {
            return Err(wrong());
        }
        let (Some(value), Some(span)) = (object.get(text, "model"), object.span("model")) else {
            return Ok(None);
        };
        let name: String = serde_json::from_str(value).map_err(|_| wrong())?;
        let named = Self {
            name,
            span,
            in_json: true,
        };
        Ok((!named.name.is_empty()).then_some(named)) // an empty name is none, as for vLLM
    }

    /// True when no other reader finds a name either where [`NamedModel::find`] finds none: the body is empty, a JSON object,
    /// or an upload. Of JSON that we cannot read that is not so: Python reads it in UTF-16, and with a `NaN` in it.
    pub fn is_absent(content_type: Option<&str>, body: &[u8]) -> bool {
        let object = || Object::read(std::str::from_utf8(body).ok()?).ok();
        body.is_empty() || boundary(content_type).is_some() || object().is_some()
    }

    /// The body with another name in the same place.
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

fn boundary(content_type: Option<&str>) -> Option<String> {
    multer::parse_boundary(content_type?).ok()
}

fn wrong() -> Error {
    Error::invalid_field("model", "`model` must be one string.")
}

/// The field `model` of a multipart form (RFC 7578), with its place in the bytes.
fn in_upload(boundary: &str, body: &[u8]) -> Result<Option<NamedModel>, Error> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memmem::find_iter(body, &delimiter)
        .map(|at| at + delimiter.len())
        .collect();
    let mut found = starts.into_iter().filter_map(|start| {
        let head = start + memmem::find(&body[start..], b"\r\n\r\n")?;
        let head_text = std::str::from_utf8(&body[start..head])
            .ok()?
            .to_ascii_lowercase();
        if !is_named_model(&head_text) {
            return None;
        }
        let value = head + 4;
        let end = value + memmem::find(&body[value..], format!("\r\n{delimiter}").as_bytes())?;
        let name = std::str::from_utf8(&body[value..end]).ok()?.to_owned();
        Some(NamedModel {
            name,
            span: value..end,
            in_json: false,
        })
    });
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(wrong()), // a server may take the other one
        (one, None) => Ok(one),
    }
}

/// True when the head of a part, in lower case, names it `model` in any spelling that a reader of forms may take: with and without
/// quotes and spaces, escaped, or with a character set (RFC 7578, 4.2).
fn is_named_model(head: &str) -> bool {
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let dispositions = unfolded
        .lines()
        .filter(|line| line.starts_with("content-disposition"));
    let mut parameters = dispositions.flat_map(|line| line.split(';').skip(1));
    parameters.any(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"').replace('\\', "");
        match key.trim() {
            "name" => value == "model",
            "name*" => value.ends_with("'model"),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_an_upload_is_found_and_renamed() {
        let body = Bytes::from(
            "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n\u{1}\u{2}\r\n\
             --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--\r\n",
        );
        let found = NamedModel::find(Some("multipart/form-data; boundary=x"), &body)
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
    fn an_upload_that_names_two_models_is_refused() {
        let part = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
        let body = Bytes::from(format!("{part}a\r\n{part}b\r\n--x--\r\n"));
        assert!(NamedModel::find(Some("multipart/form-data; boundary=x"), &body).is_err());
        for other in [
            ";name=\"model\"",
            ";  name = model",
            "; name*=utf-8''model",
            ";\r\n\tname=\"mo\\del\"",
        ] {
            let again = format!("--x\r\nContent-Disposition: form-data{other}\r\n\r\n");
            let body = Bytes::from(format!("{part}a\r\n{again}b\r\n--x--\r\n"));
            let found = NamedModel::find(Some("multipart/form-data; boundary=x"), &body);
            assert!(found.is_err(), "{other}");
        }
    }

    #[test]
    fn a_body_we_cannot_read_may_name_a_model_all_the_same() {
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
            assert_eq!(NamedModel::is_absent(None, body), absent, "{body:?}");
        }
    }

    #[test]
    fn the_model_in_json_is_found_and_renamed() {
        let body = Bytes::from_static(b"{\"input\": 1.0,\"model\" : \"a\\/b\" }");
        let found = NamedModel::find(Some("application/json"), &body)
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
            NamedModel::find(None, &Bytes::from_static(b"{\"input\":1}")).unwrap(),
            None
        );
        assert_eq!(
            NamedModel::find(None, &Bytes::from_static(b"not json")).unwrap(),
            None
        );
        assert!(NamedModel::find(None, &Bytes::from_static(b"{\"model\":1}")).is_err());
        assert!(
            NamedModel::find(
                None,
                &Bytes::from_static(b"{\"model\":\"a\",\"model\":\"b\"}")
            )
            .is_err()
        );
    }
}
