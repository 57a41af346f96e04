//! What `serde` says of a value that does not fit, in an operator's words.

use super::secret::may_carry_key;

/// The kinds of values that settings have, by what `serde` calls them, and by what an operator writes.
const KINDS: [(&str, &str); 13] = [
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

/// The same in other words; what is said in ours already stays. `is_private`: the value may be a key in the wrong place, so only
/// its kind is said.
pub fn plain(said: &str, is_private: bool) -> String {
    if said.contains("invalid socket address") {
        return format!("expected {ADDRESS}");
    }
    if let Some(field) = said.strip_prefix("missing field ") {
        return format!("{field} is missing");
    }
    if let Some((name, known)) = said
        .strip_prefix("unknown variant ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return match is_private {
            true => format!("expected {known}"),
            false => format!("expected {known}, not {name}"),
        };
    }
    let misfit = said.strip_prefix("invalid type: ");
    let misfit = misfit.or_else(|| said.strip_prefix("invalid value: "));
    match misfit.and_then(|misfit| misfit.rsplit_once(", expected ")) {
        Some((found, wanted)) => {
            let (wanted, found) = (kind(wanted), value(found, is_private));
            match found == NUMBER && wanted.contains("number") {
                true => format!("expected {wanted}"), // one of another size or sign
                false => format!("expected {wanted}, not {found}"),
            }
        }
        None => said.to_owned(),
    }
}

fn kind(wanted: &str) -> &str {
    let found = KINDS.iter().find(|(theirs, _)| *theirs == wanted);
    match found {
        Some((_, ours)) => ours,
        None if wanted.starts_with("struct ") => "settings such as { key: value }",
        None => wanted,
    }
}

/// The kinds of values that are repeated, by what `serde` calls them, and by what an operator does.
const WRITTEN: [(&str, &str); 4] = [
    ("string ", "text"),
    ("integer ", NUMBER),
    ("floating point ", NUMBER),
    ("boolean ", "true or false"),
];

const NUMBER: &str = "a number";

/// A value as it was written: ``string "a"`` is `"a"`, ``integer `-1` `` is `-1`; of one that may be or carry a key only the kind.
fn value(found: &str, is_private: bool) -> &str {
    let written = WRITTEN
        .iter()
        .find_map(|(theirs, kind)| Some((found.strip_prefix(theirs)?, *kind)));
    match (written, found) {
        (Some((bare, kind)), _) if is_private || may_carry_key(bare) => kind,
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
    fn an_operator_reads_no_names_of_rust_types() {
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
            assert_eq!(plain(&error.to_string(), false), says, "{error}");
        }
    }

    #[test]
    fn of_a_value_that_may_be_a_key_only_the_kind_is_said() {
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
            assert_eq!(plain(&error.to_string(), true), says, "{error}");
        }
        // Elsewhere of one that may carry one.
        let said = "invalid type: string \"http://u:sk-1@h\", expected a sequence";
        assert_eq!(
            plain(said, false),
            "expected a list such as [a, b], not text"
        );
    }
}
