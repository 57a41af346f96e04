//! Error messages of `serde`, in words for operators.

use super::secret::may_carry_key;

/// The types of settings: the name in `serde`, and the words for operators.
const EXPECTED: [(&str, &str); 13] = [
    ("u8", "a whole number"),
    ("u16", "a whole number"),
    ("u32", "a whole number"),
    ("u64", "a whole number"),
    ("usize", "a whole number"),
    ("f64", "a number such as 0.5"),
    ("a boolean", "true or false"),
    ("a string", "text"),
    ("path string", "a path"),
    ("a sequence", "a list such as [a, b]"),
    ("a map", "settings such as { key: value }"),
    ("socket address", ADDRESS),
    ("string or map", "a word"),
];

const ADDRESS: &str = "an address such as 127.0.0.1:8080";

/// Rewrites a message of `serde`. A message of our own stays as it is. `is_private`: the value may be a key, so the message names
/// only its type.
pub fn in_plain_words(message: &str, is_private: bool) -> String {
    if message.contains("invalid socket address") {
        return format!("expected {ADDRESS}");
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("{field} is missing");
    }
    if let Some((name, known)) = message
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return match is_private {
            true => format!("expected {known}"),
            false => format!("expected {known}, not {name}"),
        };
    }
    let mismatch = message.strip_prefix("invalid type: ");
    let mismatch = mismatch.or_else(|| message.strip_prefix("invalid value: "));
    match mismatch.and_then(|mismatch| mismatch.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let (expected, found) = (expected_type(expected), found_value(found, is_private));
            match found == NUMBER && expected.contains("number") {
                true => format!("expected {expected}"), // the number is negative, too large or not whole
                false => format!("expected {expected}, not {found}"),
            }
        }
        None => message.to_owned(),
    }
}

fn expected_type(serde_name: &str) -> &str {
    let known = EXPECTED.iter().find(|(name, _)| *name == serde_name);
    match known {
        Some((_, words)) => words,
        None if serde_name.starts_with("struct ") => "settings such as { key: value }",
        None => serde_name,
    }
}

/// The types of values that a message repeats: the name in `serde`, and the words for operators.
const REPEATED: [(&str, &str); 4] = [
    ("string ", "text"),
    ("integer ", NUMBER),
    ("floating point ", NUMBER),
    ("boolean ", "true or false"),
];

const NUMBER: &str = "a number";

/// The value as the operator wrote it: ``string "a"`` becomes `"a"`, ``integer `-1` `` becomes `-1`. A value that may contain a key
/// becomes the words for its type.
fn found_value(found: &str, is_private: bool) -> &str {
    let repeated = REPEATED
        .iter()
        .find_map(|(name, words)| Some((found.strip_prefix(name)?, *words)));
    match (repeated, found) {
        (Some((bare, words)), _) if is_private || may_carry_key(bare) => words,
        (Some((bare, _)), _) => bare.trim_matches('`'),
        (None, "null" | "unit value" | "Option value") => "nothing",
        (None, "sequence") => "a list",
        (None, "map") => "settings",
        (None, _) if is_private => "another kind of value",
        (None, found) => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_message_has_no_names_of_rust_types() {
        for (yaml, says) in [
            (
                "listen: nowhere",
                "expected an address such as 127.0.0.1:8080",
            ),
            (
                "listen: 8080",
                "expected an address such as 127.0.0.1:8080, not 8080",
            ),
            (
                "server: {max_in_flight: lots}",
                "expected a whole number, not \"lots\"",
            ),
            ("upstream: {retries: -1}", "expected a whole number, not -1"),
            (
                "upstream: {retries: 1.5}",
                "expected a whole number, not 1.5",
            ),
            (
                "upstream: {retries: null}",
                "expected a whole number, not nothing",
            ),
            (
                "routing: {threshold: high}",
                "expected a number such as 0.5, not \"high\"",
            ),
            (
                "classifier: {required: maybe}",
                "expected true or false, not \"maybe\"",
            ),
            ("classifier: {model: 5}", "expected a path, not 5"),
            (
                "server: {cors: all}",
                "expected a list such as [a, b], not \"all\"",
            ),
            (
                "server: 5",
                "expected settings such as { key: value }, not 5",
            ),
            (
                "models: [a]",
                "expected settings such as { key: value }, not a list",
            ),
            (
                "telemetry: {format: xml}",
                "expected `json` or `text`, not `xml`",
            ),
            (
                "routing: {fallback: think}",
                "expected `reasoning`, `direct`, `unchanged`, not `think`",
            ),
            ("telemetry: {log: 3}", "expected text, not 3"),
            ("routing: {fallback: 3}", "expected a word, not 3"),
            ("ops: {}", "`listen` is missing"),
            (
                "telemetry: {otlp: x}",
                "`x` is no URL; write http://HOST:PORT",
            ),
        ] {
            let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
            let error = serde_json::from_value::<Config>(value).unwrap_err();
            assert_eq!(in_plain_words(&error.to_string(), false), says, "{error}");
        }
    }

    #[test]
    fn a_message_names_only_the_type_of_a_value_that_may_be_a_key() {
        for (yaml, says) in [
            (
                "auth: sk-1",
                "expected settings such as { key: value }, not text",
            ),
            (
                "auth: 123",
                "expected settings such as { key: value }, not a number",
            ),
            (
                "auth: {keys: {alice: sk-1}}",
                "expected a list such as [a, b], not settings",
            ),
            (
                "auth: {keys: [{name: 'x, expected y', key: 'env:K', models: sk-1}]}",
                "expected a list such as [a, b], not text",
            ),
            (
                "auth: {keys: [{name: a, key: 'env:K', requests_per_minute: -1}]}",
                "expected a whole number",
            ),
            (
                "routing: {fallback: sk-1}",
                "expected `reasoning`, `direct`, `unchanged`",
            ),
        ] {
            let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
            let error = serde_json::from_value::<Config>(value).unwrap_err();
            assert_eq!(in_plain_words(&error.to_string(), true), says, "{error}");
        }
        // Elsewhere a value that may contain a key.
        let message = "invalid type: string \"http://u:sk-1@h\", expected a sequence";
        assert_eq!(
            in_plain_words(message, false),
            "expected a list such as [a, b], not text"
        );
    }
}
