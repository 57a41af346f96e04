//! The name of a model as a request writes it.

use super::{
    json_string::{has_lone_surrogate, unescaped},
    limits::MAX_MODEL_NAME_BYTES,
};
use crate::error::Error;

/// Checks the length of a model's name.
///
/// # Errors
/// A 400 for one over 512 bytes.
pub fn check_model_name(name: &str) -> Result<(), Error> {
    match name.len() {
        0..=MAX_MODEL_NAME_BYTES => Ok(()),
        _ => Err(Error::invalid_field(
            "model",
            format!("`model` is longer than {MAX_MODEL_NAME_BYTES} bytes."),
        )),
    }
}

/// The error for a model that is named twice, or in no readable way.
pub(super) fn not_one() -> Error {
    Error::invalid_field("model", "`model` must be one string.")
}

/// Decodes a model's name from the raw JSON of its value.
///
/// # Errors
/// A 400 when it is no string, is longer than 512 bytes, or holds half of a surrogate pair: the server would read a name that
/// cannot be written here.
pub(super) fn read_model_name(value: &str) -> Result<String, Error> {
    const MAX_ESCAPED: usize = 6 * MAX_MODEL_NAME_BYTES + 2; // `\u0061` is one byte
    if !value.starts_with('"') {
        return Err(Error::invalid_field("model", "`model` must be a string."));
    }
    let shown = value.get(..MAX_ESCAPED + 1).unwrap_or(value);
    if value.len() > MAX_ESCAPED {
        check_model_name(shown)?;
    }
    if has_lone_surrogate(value) {
        let message = "`model` holds half of a surrogate pair.";
        return Err(Error::invalid_field("model", message));
    }
    let name = unescaped(value).into_owned();
    check_model_name(&name)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_512_bytes_is_read_and_a_longer_one_is_refused() {
        let read = |letter: &str, count: usize| {
            read_model_name(&format!("\"{}\"", letter.repeat(count))).map(|name| name.len())
        };
        for (letter, most) in [("a", 512), ("é", 256), ("\\u0061", 512), ("\\/", 512)] {
            assert_eq!(read(letter, most), Ok(512), "{letter}");
            for more in [most + 1, 30 << 20] {
                let message = read(letter, more).unwrap_err().to_string();
                assert!(message.contains("512 bytes"), "{message}");
            }
        }
    }

    #[test]
    fn a_name_that_cannot_be_read_is_no_missing_name() {
        for value in ["5", "{}", r#""qwen\ud83d""#] {
            assert!(read_model_name(value).is_err(), "{value}");
        }
    }
}
