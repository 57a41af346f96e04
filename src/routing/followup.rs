//! Turns that lean on what was said before ("yes", "go on", "prove it", "继续"): alone they say nothing that could be judged.
//!
//! The rule is about length, not about a list of words: a turn of at most three words without digits or symbols. A word is
//! what white space separates; where a script has none between its words, five ideographs count for as much, or ten letters
//! of kana, Thai, Lao, Khmer or Myanmar.
//!
//! Being wrong costs little on this side. A turn that is skipped keeps the mode of what it follows, so the worst is a short
//! new question ("capital of France?") that is thought about, or one that is not ("prove Zorn's lemma" behind a greeting). A
//! turn that is judged without what it leans on gets a score that means little, and the mode flips in the middle of a proof:
//! a wrong answer, and the prompt is read anew. So "why?" and "prove it" lean, and "5+7?" does not: a digit or a symbol is
//! something to work on.

/// Room for three words, and what a word, an ideograph, and a letter of the other scripts without spaces take of it.
const ROOM: usize = 10;
const WORD: usize = 3;
const IDEOGRAPH: usize = 2;
const LETTER: usize = 1;

/// A longer turn is not looked at: it has more than three words, or one that no language has.
const MOST_BYTES: usize = 96;

/// True when `turn` says nothing without the turn before it. Empty text, punctuation and emoji say nothing either.
pub fn leans(turn: &str) -> bool {
    let turn = turn.trim();
    turn.len() <= MOST_BYTES
        && !turn.contains(is_matter)
        && turn.split_whitespace().map(size).sum::<usize>() <= ROOM
}

/// Digits, and the symbols of arithmetic, code and paths: whatever stands around them, there is something to work on.
fn is_matter(c: char) -> bool {
    const SYMBOLS: &str = "+=<>*/^%$_|\\`[]{}×÷±√∑∏∫∞π";
    c.is_numeric() || SYMBOLS.contains(c) || ('\u{2200}'..='\u{22ff}').contains(&c)
}

/// What a piece of text between spaces takes of the room.
fn size(piece: &str) -> usize {
    let unspaced: usize = piece.chars().map(without_spaces).sum();
    let is_spaced = |c: char| c.is_alphabetic() && without_spaces(c) == 0;
    unspaced + if piece.contains(is_spaced) { WORD } else { 0 }
}

/// What a letter takes of the room when its script has no spaces between words, else nothing.
fn without_spaces(c: char) -> usize {
    match c {
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' => IDEOGRAPH,
        '\u{20000}'..='\u{3ffff}' => IDEOGRAPH,
        '\u{3041}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9d}' => LETTER, // kana
        '\u{0e00}'..='\u{0eff}' => LETTER,                           // Thai, Lao
        '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' => LETTER, // Myanmar, Khmer
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_alone_leans_in_many_languages() {
        for turn in [
            "yes",
            "Yes!",
            "go on",
            "ok thanks",
            "Yes, go on.",
            "are you sure?",
            "I don't understand",
            "that's wrong",
            "why?",
            "prove it",
            "commit it",
            "make it shorter",
            "👍",
            "...",
            "ok :)",
            "继续",
            "好的，谢谢",
            "请继续",
            "为什么？",
            "证明它",
            "再检查一遍",
            "はい、続けてください",
            "ありがとうございます",
            "なぜ？",
            "계속해 주세요",
            "sí, sigue",
            "¿por qué?",
            "oui, continuez",
            "ja, bitte weiter",
            "да, продолжай",
            "نعم",
            "ต่อไป",
        ] {
            assert!(leans(turn), "{turn}");
        }
    }

    #[test]
    fn what_can_be_judged_alone_does_not_lean() {
        for turn in [
            "5+7?",
            "x^2 = 2",
            "and for n = 5?",
            "what about 7",
            "²",
            "∇f?",
            "ls | wc",
            "the capital of France?",
            "Prove that the square root of two is irrational.",
            "what time do you open",
            "yes, prove it by induction",
            "证明勾股定理",
            "解这个方程组",
            "ピタゴラスの定理を証明して",
            "Докажи, что корень иррационален",
        ] {
            assert!(!leans(turn), "{turn}");
        }
    }

    #[test]
    fn a_long_piece_without_spaces_is_no_word() {
        assert!(!leans(&"a".repeat(97)));
        assert!(leans(&format!(
            "{}yes{}",
            " ".repeat(500),
            "\n".repeat(500)
        )));
    }
}
