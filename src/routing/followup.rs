//! Recognises follow-up turns ("yes", "go on", "prove it", "继续"): alone they hold nothing that could be judged.
//!
//! The rule is about length, not about a list of words: a turn of at most three words without digits or symbols is a
//! follow-up. White space separates words. In a script without spaces between words, five ideographs count as much as three
//! words, and so do ten letters of kana, Thai, Lao, Khmer or Myanmar.
//!
//! The two errors have different costs. A skipped turn keeps the mode of the turn before it, so the worst case is a short new
//! question ("capital of France?") that is thought about, or one that is not ("prove Zorn's lemma" after a greeting). A
//! follow-up that is judged without its context gets a score that means little, and the mode flips in the middle of a proof:
//! the answer is wrong and the prefix cache is lost. So "why?" and "prove it" are follow-ups, and "5+7?" is not: a digit or a
//! symbol is something to work on.

/// The widest turn that is a follow-up, and the width of a word, of an ideograph, and of a letter of another script without
/// spaces.
const MAX_WIDTH: usize = 10;
const WORD_WIDTH: usize = 3;
const IDEOGRAPH_WIDTH: usize = 2;
const LETTER_WIDTH: usize = 1;

/// A longer turn is no follow-up: it has more than three words, or a word that no language has.
const MAX_BYTES: usize = 96;

/// True when `turn` means nothing without the turn before it. Empty text, punctuation and emoji mean nothing either.
pub fn is_followup(turn: &str) -> bool {
    let turn = turn.trim();
    turn.len() <= MAX_BYTES
        && !has_content(turn)
        && turn.split_whitespace().map(width).sum::<usize>() <= MAX_WIDTH
}

/// True when the text holds a digit or a symbol of arithmetic, code or paths: then there is something to work on.
fn has_content(text: &str) -> bool {
    const SYMBOLS: &str = "+=<>*/^%$_|\\`[]{}×÷±√∑∏∫∞π";
    text.contains(|c: char| {
        c.is_numeric() || SYMBOLS.contains(c) || ('\u{2200}'..='\u{22ff}').contains(&c)
    })
}

/// The width of a piece of text between spaces.
fn width(piece: &str) -> usize {
    let unspaced: usize = piece.chars().map(unspaced_width).sum();
    let is_spaced = |c: char| c.is_alphabetic() && unspaced_width(c) == 0;
    unspaced
        + if piece.contains(is_spaced) {
            WORD_WIDTH
        } else {
            0
        }
}

/// The width of a letter whose script has no spaces between words; 0 for any other character.
fn unspaced_width(c: char) -> usize {
    match c {
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' => {
            IDEOGRAPH_WIDTH
        }
        '\u{20000}'..='\u{3ffff}' => IDEOGRAPH_WIDTH,
        '\u{3041}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9d}' => LETTER_WIDTH, // kana
        '\u{0e00}'..='\u{0eff}' => LETTER_WIDTH,                           // Thai, Lao
        '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' => LETTER_WIDTH, // Myanmar, Khmer
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_replies_are_followups_in_many_languages() {
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
            assert!(is_followup(turn), "{turn}");
        }
    }

    #[test]
    fn a_turn_that_can_be_judged_alone_is_no_followup() {
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
            assert!(!is_followup(turn), "{turn}");
        }
    }

    #[test]
    fn a_long_piece_without_spaces_is_no_word() {
        assert!(!is_followup(&"a".repeat(97)));
        assert!(is_followup(&format!(
            "{}yes{}",
            " ".repeat(500),
            "\n".repeat(500)
        )));
    }
}
