//! The model named by a request we do not judge: in JSON, or in a field of a multipart upload.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::Object;
use crate::error::Error;

/// The most parts that a form may have: starlette, which reads the forms that vLLM gets, takes 1,000 files and 1,000 fields.
const MAX_PARTS: usize = 2_000;
/// The longest head of a part, in bytes: the same as what a server in front of Python takes for a whole request's headers.
const MAX_PART_HEAD_BYTES: usize = 16 << 10;

/// Where the body of an unjudged request names its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelField {
    /// The name.
    pub name: String,
    span: Range<usize>,
    in_json: bool,
}

impl ModelField {
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

    /// True when no other reader finds a name either where [`ModelField::find`] finds none: the body is empty, a JSON object,
    /// or an upload. Of JSON that we cannot read that is not so: Python reads it in UTF-16, and with a `NaN` in it.
    pub fn has_no_model(content_type: Option<&str>, body: &[u8]) -> bool {
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

/// Finds the field `model` of a multipart form (RFC 7578), with its place in the bytes, in one pass over them.
fn in_upload(boundary: &str, body: &[u8]) -> Result<Option<ModelField>, Error> {
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
        let head = std::str::from_utf8(&body[from..from + length]);
        start = next(value - 1);
        if !head.is_ok_and(|head| is_named_model(&head.to_ascii_lowercase())) {
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
    fn an_upload_that_names_two_models_is_refused() {
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
    fn an_upload_made_of_its_own_boundary_is_read_once() {
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
