//! The name of a part of a multipart form (RFC 7578), from the part's head.

use mailparse::{parse_content_disposition, parse_headers};

use super::media_type::{has_extended, has_too_many_parameters};
use crate::error::Error;

/// True when the head of a part names it `model`. `head` begins with the end of the delimiter's line.
///
/// The name counts in any spelling that a reader of forms may take: with and without quotes and spaces, escaped, in another
/// case, or encoded as in RFC 2231.
///
/// # Errors
/// A 400 for a head in which another reader may find another name.
pub(super) fn is_model_part(head: &[u8]) -> Result<bool, Error> {
    let unclear = || Error::invalid("The form has a part whose name cannot be read.");
    // Readers take other bytes for Latin-1, or leave them out, or the whole part.
    let head = std::str::from_utf8(head).map_err(|_| unclear())?;
    let Some((_, lines)) = head.split_once("\r\n") else {
        return Ok(false);
    };
    // A line feed alone ends a line for some readers and is part of a value for others.
    if lines.split("\r\n").any(|line| line.contains(['\r', '\n'])) {
        return Err(unclear());
    }
    let (headers, _) = parse_headers(lines.as_bytes()).map_err(|_| unclear())?;
    let mut is_model = false;
    for header in headers {
        if !header
            .get_key_ref()
            .trim()
            .eq_ignore_ascii_case("content-disposition")
        {
            continue;
        }
        let value = std::str::from_utf8(header.get_value_raw()).map_err(|_| unclear())?;
        if has_too_many_parameters(value) {
            return Err(unclear());
        }
        let params = parse_content_disposition(value).params;
        let is_named = params
            .get("name")
            .is_some_and(|name| name.eq_ignore_ascii_case("model"));
        if has_extended(&params, "name") || (!is_named && may_name_model(value)) {
            return Err(unclear());
        }
        is_model |= is_named;
    }
    Ok(is_model)
}

/// True when a reader that treats quotes, escapes or repeated parameters in its own way may find the name `model`.
fn may_name_model(disposition: &str) -> bool {
    let is_ignored = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
    let bare = without_quoted(disposition).replace(is_ignored, "");
    bare.split(';')
        .any(|parameter| parameter.eq_ignore_ascii_case("name=model"))
}

/// The value without the content of quotes about which all readers agree: `file name.wav` in `; filename="file name.wav";`. The name
/// itself stays.
fn without_quoted(disposition: &str) -> String {
    let mut kept = String::with_capacity(disposition.len());
    let mut rest = disposition;
    while let Some((before, quoted)) = rest.split_once("=\"") {
        let parameter = before.rsplit(';').next().unwrap_or_default().trim();
        let is_plain =
            parameter.bytes().all(|byte| byte.is_ascii_alphabetic()) && !before.contains('"');
        let clear = quoted.split_once('"').filter(|(content, behind)| {
            let behind = behind.trim_start_matches([' ', '\t']);
            is_plain && !content.contains('\\') && (behind.is_empty() || behind.starts_with(';'))
        });
        let Some((content, behind)) = clear else {
            break;
        };
        kept.push_str(before);
        kept.push('=');
        if parameter.eq_ignore_ascii_case("name") {
            kept.push_str(content);
        }
        rest = behind;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::api::ModelField;

    /// How starlette reads each of these: with the parser of `email.message`, after a decoding from Latin-1.
    #[test]
    fn any_name_that_a_python_server_may_take_for_model_is_found_or_refused() {
        let find = |head: &[u8]| {
            let form = [b"--x\r\n", head, b"\r\n\r\nwhisper\r\n--x--\r\n"].concat();
            ModelField::find(Some("multipart/form-data; boundary=x"), &Bytes::from(form))
        };
        for head in [
            &b"content-disposition:form-data;name=model"[..],
            b"Content-Disposition: form-data; name=\"model\"; filename=\"a;b.wav\"",
            "Content-Disposition: form-data; filename=\"\u{e9}\"; name=\"model\"".as_bytes(),
            b"Content-Disposition: form-data; filename=\"take 1; name=file\"; name=\"model\"",
            b"X: 1\r\nContent-Disposition: form-data; NAME = \"model\"",
            b"Content-Disposition: form-data; name*=utf-8''mo%64el",
            b"Content-Disposition: form-data; name*0=mo; name*1=del",
            b"Content-Disposition: form-data; name*0*=utf-8''mo; name*1*=%64el",
            b"Content-Disposition: form-data; name=x; name=model",
            b"Content-Disposition: form-data; name=x\r\nContent-Disposition: form-data; name=model",
        ] {
            let found = find(head).unwrap();
            let text = String::from_utf8_lossy(head);
            assert_eq!(
                found.map(|field| field.name).as_deref(),
                Some("whisper"),
                "{text}"
            );
        }
        for head in [
            &b"Content-Disposition: form-data; name=x; name*=utf-8''model"[..],
            b"Content-Disposition: form-data; name*=bogus''model",
            b"Content-Disposition: form-data; name*=model",
            b"Content-Disposition: form-data; name*0=mo; name*2=del",
            b"Content-Disposition: form-data; name=model; name=x",
            b"Content-Disposition: form-data; filename=\"a; name=model",
            b"Content-Disposition: form-data; a=b\n; name=model",
            b"Content-Disposition: form-data; a=b\r; name=model",
            b" Content-Disposition: form-data; name=model",
            b"Content-Disposition: form-data; filename=\"\xe9\"; name=\"model\"",
            b"Content-Disposition: form-data; name=\"x\"; filename=\"a\\\"; name=model\"",
            b"Content-Disposition: form-data; name=\"x\"; filename=a\"; name=model; b=\"c\"",
            b"Content-Disposition: form-data; name=\"x\"; filename=\"a\"b; name=model\"",
            b"Content-Disposition: form-data; name=\"a; name=model\"",
            b"X: \xff\r\nContent-Disposition: form-data; name=file",
        ] {
            assert!(find(head).is_err(), "{}", String::from_utf8_lossy(head));
        }
        for head in [
            &b"Content-Disposition: form-data; name=\"models\""[..],
            b"Content-Disposition: form-data; name=\"file\"; filename=\"model\"",
            b"Content-Disposition: form-data; name=\"file\"; filename=\"take 1; name=model\"",
            b"Content-Disposition: form-data; filename=\"; name=model\" ; name=\"file\"",
            b"Content-Disposition: form-data; name*=utf-8''%C3%A9",
            b"Content-Type: text/plain; name=model",
            b"no colon",
        ] {
            assert_eq!(
                find(head).unwrap(),
                None,
                "{}",
                String::from_utf8_lossy(head)
            );
        }
    }

    #[test]
    fn a_part_with_many_parameters_is_refused() {
        let part = format!(
            "--x\r\nContent-Disposition: form-data{}\r\n\r\na\r\n--x--\r\n",
            "; a*0*=b".repeat(65)
        );
        let found = ModelField::find(Some("multipart/form-data; boundary=x"), &Bytes::from(part));
        assert!(found.is_err());
    }
}
