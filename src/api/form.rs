//! Finds the field `model` of a multipart form (RFC 7578), in one pass over its bytes.
//!
//! A form that readers may cut into parts in different ways is refused: another reader may find another model in it. What
//! python-multipart does, by which FastAPI reads forms, is what `tests/e2e/test_forms.py` compares this with.

use std::ops::Range;

use memchr::memmem;

use super::{
    form_part::is_model_part,
    limits::{MAX_FORM_PARTS, MAX_PART_HEAD_BYTES},
    model_name::{check_model_name, not_one},
};
use crate::error::Error;

/// A model's name, and where it stands in the form.
type NamedModel = (String, Range<usize>);

/// What follows the boundary in a line that begins with it.
enum Delimiter {
    /// A part, which begins at this position with the end of the line.
    Part(usize),
    /// Nothing: it was the last one.
    Last,
}

/// The name in the field `model` and the position of its value; `None` when there is no such field, or an empty one.
///
/// # Errors
/// A 400 when there are two such fields, or when readers may disagree about the parts.
pub(super) fn find_in_form(boundary: &str, body: &[u8]) -> Result<Option<NamedModel>, Error> {
    let line = format!("\r\n--{boundary}");
    let newline = format!("\n--{boundary}");
    let finder = memmem::Finder::new(newline.as_bytes());
    // Where a line begins with the boundary, from `from` on: the ends of the part before it and of the boundary.
    let next = |from: usize| -> Result<Option<(usize, usize)>, Error> {
        let Some(at) = body.get(from..).and_then(|rest| finder.find(rest)) else {
            return Ok(None);
        };
        let at = from + at;
        match at.checked_sub(1).filter(|at| {
            body.get(*at..)
                .is_some_and(|rest| rest.starts_with(line.as_bytes()))
        }) {
            Some(end) => Ok(Some((end, at + newline.len()))),
            None => Err(unclear(
                "a line that ends in a line feed alone in front of a boundary",
            )),
        }
    };
    let blank = body
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let is_start = body
        .get(blank..)
        .is_some_and(|rest| rest.starts_with(&line.as_bytes()[2..]));
    if !is_start {
        return Err(unclear("something in front of its first part"));
    }
    let mut at = blank + line.len() - 2;
    let mut found = None;
    for parts in 0.. {
        let from = match delimiter(body, at)? {
            Delimiter::Part(from) => from,
            Delimiter::Last if next(at)?.is_some() => return Err(unclear("a part behind its end")),
            Delimiter::Last => break,
        };
        if parts == MAX_FORM_PARTS {
            return Err(Error::invalid(format!(
                "The form has more than {MAX_FORM_PARTS} parts."
            )));
        }
        let Some(value) = end_of_head(body, from)? else {
            break; // cut off: no reader takes a part without an end
        };
        let is_model = is_model_part(body.get(from..value - 4).unwrap_or_default())?;
        let Some((end, behind)) = next(value - 2)? else {
            match is_model {
                true => return Err(unclear("a `model` that is cut off")),
                false => break,
            }
        };
        if end < value {
            return Err(unclear("a part that ends with the line of its head"));
        }
        if is_model {
            if found.is_some() {
                return Err(not_one()); // a server may take the other one
            }
            let name = body
                .get(value..end)
                .and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(not_one)?;
            check_model_name(name)?;
            found = Some((name.to_owned(), value..end));
        }
        at = behind;
    }
    Ok(found.filter(|(name, _)| !name.is_empty()))
}

/// Reads what follows a boundary: blanks and the end of the line, or two dashes.
fn delimiter(body: &[u8], at: usize) -> Result<Delimiter, Error> {
    let rest = body.get(at..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    match rest.get(blanks..).unwrap_or_default() {
        [b'-', b'-', ..] if blanks == 0 => Ok(Delimiter::Last),
        [b'\r', b'\n', ..] => Ok(Delimiter::Part(at + blanks)),
        [] | [b'\r' | b'-'] => Ok(Delimiter::Last), // cut off
        _ => Err(unclear("a line that begins with the boundary and goes on")),
    }
}

/// Where the value begins of the part whose head begins at `from`; `None` when it does not begin.
fn end_of_head(body: &[u8], from: usize) -> Result<Option<usize>, Error> {
    let longest = body.len().min(from + MAX_PART_HEAD_BYTES + 4);
    let head = body.get(from..longest).unwrap_or_default();
    match memmem::find(head, b"\r\n\r\n") {
        Some(length) => Ok(Some(from + length + 4)),
        None if body.len() > from + MAX_PART_HEAD_BYTES => Err(Error::invalid(format!(
            "The form has a part whose head is longer than {MAX_PART_HEAD_BYTES} bytes."
        ))),
        None => Ok(None),
    }
}

fn unclear(what: &str) -> Error {
    Error::invalid(format!(
        "The form has {what}: servers may read it in different ways."
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::api::ModelField;

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
        let renamed = String::from_utf8(found.rename(&body, "big").into_bytes().to_vec()).unwrap();
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
        for (count, is_ok) in [(MAX_FORM_PARTS - 2, true), (MAX_FORM_PARTS, false)] {
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
    fn a_form_that_readers_may_cut_in_different_ways_is_refused() {
        let find = |body: &[u8]| {
            let content_type = Some("multipart/form-data; boundary=x");
            let found = ModelField::find(content_type, &Bytes::copy_from_slice(body));
            found.map(|field| field.map(|field| field.name))
        };
        let head = "\r\nContent-Disposition: form-data; name=model\r\n\r\n";
        for (form, name) in [
            (format!("\r\n\r\n--x{head}a\r\n--x--"), Some("a")),
            (
                format!("--x \t{head}a\r\n--x \r\n\r\nb\r\n--x--\r\n"),
                Some("a"),
            ),
            (format!("--x{head}a\r\n--x"), Some("a")),
            (
                format!("--x{head}a\n--y\r\n--x--\r\nan epilogue"),
                Some("a\n--y"),
            ),
            (format!("--x{head}\r\n--x--"), None),
            ("--x--".to_owned(), None),
        ] {
            assert_eq!(find(form.as_bytes()).unwrap().as_deref(), name, "{form:?}");
        }
        for form in [
            format!("preamble\r\n--x{head}a\r\n--x--"),
            format!("\r\npreamble--x{head}a\r\n--x--"),
            format!("--x{head}a\n--x{head}b\r\n--x--"),
            format!("--x{head}a\r\n--xy{head}b\r\n--x--"),
            format!("--x--\r\n--x{head}b\r\n--x--"),
            format!("--x{head}a"),
            format!("--x{head}--x--"),
            format!("--x\n{head}a\r\n--x--"),
            "a".to_owned(),
        ] {
            assert!(find(form.as_bytes()).is_err(), "{form:?}");
        }
    }
}
