//! Sizes in bytes, written as a number or with a unit: `33554432`, `32MiB`.

use std::fmt;

use serde::{Deserializer, de};

/// The units, with their bytes. Upper and lower case are the same.
const UNITS: [(&str, u64); 7] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

const EXPECTED: &str = "a size in bytes, or such as 32MiB";

/// Reads a size for a setting whose type is a whole number.
///
/// # Errors
/// The value is neither a whole number nor a whole number with a unit, or it is too large.
pub fn deserialize<'de, D, N>(deserializer: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    let bytes = deserializer.deserialize_any(ByteSize)?;
    N::try_from(bytes).map_err(|_| de::Error::custom(format!("expected {EXPECTED}")))
}

struct ByteSize;

impl de::Visitor<'_> for ByteSize {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(EXPECTED)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim_start();
    let (_, factor) = UNITS
        .into_iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))
        .or(unit.is_empty().then_some(("", 1)))?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_size_is_bytes_or_has_a_unit() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("33554432", Some(33_554_432)),
            ("32MiB", Some(32 << 20)),
            ("32 mib", Some(32 << 20)),
            ("5kB", Some(5_000)),
            ("1GiB", Some(1 << 30)),
            ("7B", Some(7)),
            ("", None),
            ("MiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("32M", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }

    #[test]
    fn a_setting_takes_both_spellings() {
        let limit = |size: &str| {
            let config = Config::from_yaml(&format!("server: {{ max_body_bytes: {size} }}"));
            config.map(|config| config.server.max_body_bytes)
        };
        assert_eq!(limit("1000").unwrap(), 1000);
        assert_eq!(limit("8MiB").unwrap(), 8 << 20);
        for wrong in ["-5", "lots", "[1]", "1.5"] {
            let error = limit(wrong).unwrap_err().to_string();
            assert!(error.contains("a size in bytes"), "{wrong}: {error}");
        }
    }
}
