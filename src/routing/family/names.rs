//! Compares a model's name with the patterns of the table.
//!
//! A name is lower-cased and its separators become `-`. A pattern is one fragment, or several joined by `*`. The fragments
//! must appear in that order, each at the start of a word. A fragment that ends in a digit does not match the beginning of a
//! longer version: `qwen3` matches neither `qwen3.5` nor `qwen30`.

/// `name` in the form that patterns are compared with.
pub fn normalize(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '_' | ':' | '/' | '\\' | ' ' | '@' => '-',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// True when one of `patterns` matches the normalized name.
pub fn matches_any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut from = 0;
    pattern
        .split('*')
        .all(|fragment| match find(fragment, name, from) {
            Some(end) => {
                from = end;
                true
            }
            None => false,
        })
}

/// The end of the first match of `fragment` at or after `from`.
fn find(fragment: &str, name: &str, from: usize) -> Option<usize> {
    let rest = name.get(from..)?;
    rest.match_indices(fragment)
        .map(|(at, _)| (from + at, from + at + fragment.len()))
        .find_map(|(start, end)| {
            let before = name.get(..start)?.chars().next_back();
            let mut after = name.get(end..)?.chars();
            let (next, then) = (after.next(), after.next());
            let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            let longer_version = fragment.ends_with(|c: char| c.is_ascii_digit())
                && (is_digit(next) || next == Some('.') && is_digit(then));
            let word_begins = before.is_none_or(|c| !c.is_ascii_alphanumeric());
            (word_begins && !longer_version).then_some(end)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_whole() {
        assert!(matches("qwen3", "qwen-qwen3-8b"));
        assert!(!matches("qwen3", "qwen3.5-8b"));
        assert!(!matches("qwen3", "myqwen3"));
        assert!(matches("glm-5", "glm-5-fp8"));
        assert!(!matches("glm-5", "glm-5.3"));
    }

    #[test]
    fn fragments_keep_their_order() {
        assert!(matches("qwen3*thinking", "qwen3-30b-a3b-thinking-2507"));
        assert!(!matches("qwen3*thinking", "thinking-qwen3"));
    }
}
