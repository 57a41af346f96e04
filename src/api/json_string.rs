//! JSON strings, as they stand between their quotes.

use std::borrow::Cow;

/// Decodes a string with its quotes, whose escapes are known to be valid. Each lone surrogate becomes U+FFFD.
pub(super) fn unescaped(quoted: &str) -> Cow<'_, str> {
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    push_unescaped(&mut text, inner);
    Cow::Owned(text)
}

/// Appends a string with its quotes, decoded.
pub(super) fn append_unescaped(text: &mut String, quoted: &str) {
    push_unescaped(
        text,
        quoted
            .get(1..quoted.len().saturating_sub(1))
            .unwrap_or_default(),
    );
}

/// True when a key with its quotes is `name`, however it is escaped.
pub(super) fn is_key(quoted: &str, name: &str) -> bool {
    quoted.get(1..quoted.len().saturating_sub(1)) == Some(name)
        || (quoted.contains('\\') && unescaped(quoted) == name)
}

/// True when the string holds half of a surrogate pair.
pub(super) fn has_lone_surrogate(quoted: &str) -> bool {
    quoted.contains("\\u") && push_unescaped(&mut String::new(), quoted)
}

/// Returns true when half of a surrogate pair was replaced.
fn push_unescaped(text: &mut String, mut rest: &str) -> bool {
    let mut has_replaced = false;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut letters = escape.chars();
        let (character, length) = match letters.next() {
            Some('n') => ('\n', 1),
            Some('t') => ('\t', 1),
            Some('r') => ('\r', 1),
            Some('b') => ('\u{8}', 1),
            Some('f') => ('\u{c}', 1),
            Some('u') => {
                let (character, length) = code_point(escape);
                has_replaced |= character.is_none();
                (character.unwrap_or(char::REPLACEMENT_CHARACTER), length)
            }
            Some(itself) => (itself, itself.len_utf8()),
            None => break,
        };
        text.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    has_replaced
}

/// The character of `uXXXX`, or of a pair `uXXXX\uXXXX`, and how many bytes it takes. `None` for half of a pair, which text in Rust
/// cannot hold. Servers in Python can, so the bytes stay as they are.
fn code_point(escape: &str) -> (Option<char>, usize) {
    const ONE: usize = 5;
    let unit = |from: usize| u32::from_str_radix(escape.get(from..from + 4)?, 16).ok();
    let first = unit(1).unwrap_or_default();
    if let Some(character) = char::from_u32(first) {
        return (Some(character), ONE);
    }
    let has_second = first < 0xdc00 && escape.get(ONE..ONE + 2) == Some("\\u");
    match has_second.then(|| unit(ONE + 2)).flatten() {
        Some(second @ 0xdc00..=0xdfff) => {
            let pair = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            (char::from_u32(pair), 2 * ONE + 1)
        }
        _ => (None, ONE),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lone_surrogate_spoils_one_character_and_nothing_else() {
        for (json, text) in [
            (r#""""#, ""),
            (r#""caf\u00e9 \ud83d ...""#, "café \u{fffd} ..."),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83d\n/no_think""#, "\u{fffd}\n/no_think"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\\ud83d\"""#, "\\ud83d\""),
        ] {
            assert_eq!(unescaped(json), text, "{json}");
        }
        for (json, is_lone) in [
            (r#""a\ud83d""#, true),
            (r#""\uFFFD\uD83D""#, true),
            (r#""\uFFFD \ud83d\ude00 \\ud83d""#, false),
            ("\"\u{fffd}\"", false),
        ] {
            assert_eq!(has_lone_surrogate(json), is_lone, "{json}");
        }
    }

    #[test]
    fn a_key_is_compared_unescaped() {
        assert!(is_key(r#""model""#, "model") && is_key(r#""m\u006fdel""#, "model"));
        assert!(!is_key(r#""models""#, "model") && !is_key(r#""m\\u006fdel""#, "model"));
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in any::<String>()) {
            let quoted = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unescaped(&quoted), text.as_str());
            let ascii: String = text
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect();
            let quoted = format!("\"{ascii}\"");
            prop_assert_eq!(unescaped(&quoted), text.as_str());
            prop_assert!(!has_lone_surrogate(&quoted));
        }
    }
}
