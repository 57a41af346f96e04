//! How deep the brackets of a YAML text are nested, found in one pass.
//!
//! The YAML parser takes time that grows with the square of the depth: 12 s for 100 KB of `[`. So deep texts are refused before it.

/// The deepest nesting of brackets. A configuration has at most 7 levels.
const MAX_DEPTH: usize = 64;

/// Where a YAML text nests brackets deeper than a configuration can: the line, from 1. Quotes and comments are left out.
pub fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_usize, None);
    for (line, content) in text.lines().enumerate() {
        let (mut before, mut is_escaped) = (b' ', false);
        for byte in content.bytes() {
            // Within a word an apostrophe or a number sign is one of its letters.
            let begins_word = matches!(before, b' ' | b'\t' | b'[' | b'{' | b',' | b':');
            match (quote, byte) {
                (Some(b'"'), b'\\') => {
                    is_escaped = !is_escaped;
                    before = byte;
                    continue;
                }
                (Some(end), byte) => {
                    if byte == end && !is_escaped {
                        quote = None;
                    }
                }
                (None, b'"' | b'\'') if begins_word => quote = Some(byte),
                (None, b'#') if matches!(before, b' ' | b'\t') => break,
                (None, b'[' | b'{') => depth += 1,
                (None, b']' | b'}') => depth = depth.saturating_sub(1),
                (None, _) => {}
            }
            if depth > MAX_DEPTH {
                return Some(line + 1);
            }
            (before, is_escaped) = (byte, false);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_that_are_never_closed_are_too_deep() {
        assert_eq!(too_deep(&"[".repeat(100_000)), Some(1));
        assert_eq!(
            too_deep(&format!("a: 1\nb: {}", "{a: ".repeat(100))),
            Some(2)
        );
        assert_eq!(
            too_deep(&format!("'{}'\n{}", "[".repeat(99), "[".repeat(99))),
            Some(2)
        );
    }

    #[test]
    fn brackets_side_by_side_in_quotes_and_in_comments_are_not() {
        for text in [
            "a: [[1], {b: []}]\n".repeat(1000),
            format!("# {}\na: 1 # {}", "[".repeat(99), "[".repeat(99)),
            format!("a: '{}'\nb: \"\\\"{}\"", "[".repeat(99), "[".repeat(99)),
            "a: don't [x]\n".repeat(1000),
            super::super::DEFAULT_YAML.to_owned(),
        ] {
            assert_eq!(too_deep(&text), None, "{text}");
        }
    }
}
