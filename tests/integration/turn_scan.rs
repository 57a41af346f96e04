//! Property tests of the turn scan: which turn decides, and what does not matter to it.

use proptest::prelude::*;
use serde_json::{Value, json};
use thinkgate::{
    api::ChatRequest,
    classifier::{Classification, FallbackReason},
    config::Routing,
    routing::{Conversation, Decision, Mode, Policy, ScannedTurn, TurnVerdict, Why},
};

/// A turn of the user, as a test writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    /// An image without text.
    Image,
    /// A short word that means nothing without the turn before it.
    FollowUp(&'static str),
    /// Something that can be judged, with its score in thousandths.
    Ask(u32),
    /// Something in a script that the classifier cannot read.
    Unreadable,
}
use Turn::{Ask, FollowUp, Image, Unreadable};

impl Turn {
    fn message(self) -> Value {
        let content = match self {
            Image => json!([{"type": "image_url", "image_url": {"url": "data:,"}}]),
            FollowUp(word) => word.into(),
            Ask(score) => format!("a question that scores {score}").into(),
            Unreadable => "something that scores nothing readable".into(),
        };
        json!({"role": "user", "content": content})
    }
}

/// What a classifier would return for the text of a turn. Like the real one, it gives a short word a clear no.
fn classify(text: &str) -> Classification {
    let score = text.rsplit(' ').next().and_then(|word| word.parse().ok());
    Classification {
        score: score.unwrap_or(0.0) / 1000.0,
        domain: None,
        tokens: 3,
        truncated: false,
        unreadable: text.ends_with("readable"),
    }
}

fn request(turns: &[Turn]) -> ChatRequest {
    let answered = |turn: &Turn| [turn.message(), json!({"role": "assistant", "content": "a"})];
    let mut messages = vec![json!({"role": "system", "content": "s"})];
    messages.extend(turns.iter().flat_map(answered));
    ChatRequest::read(json!({"messages": messages}).to_string().into()).unwrap()
}

/// Scans, with a classifier that fails at its `fails_at`th text.
fn scan(policy: &Policy, turns: &[Turn], fails_at: usize) -> (Decision, Vec<ScannedTurn>) {
    let request = request(turns);
    let chat = Conversation::of(&request).unwrap();
    let mut turns = policy.scan(&chat);
    let mut asked = 0;
    while let Some(text) = turns.next_text() {
        if asked == fails_at {
            return turns.finish(Some(FallbackReason::Late));
        }
        turns.observe(classify(&text));
        asked += 1;
    }
    turns.finish(None)
}

fn decide(policy: &Policy, turns: &[Turn]) -> Decision {
    scan(policy, turns, usize::MAX).0
}

/// The same rule, the slow and obvious way and in whole thousandths.
fn reference(limits: &Limits, turns: &[Turn]) -> (Mode, Why) {
    let judged = turns.iter().enumerate().filter(|(at, turn)| match turn {
        Image => false,
        FollowUp(_) => *at == 0,
        Ask(_) | Unreadable => true,
    });
    let all: Vec<Turn> = judged.map(|(_, turn)| *turn).collect();
    let window = &all[all.len().saturating_sub(limits.turns)..];
    let score_of = |turn: &Turn| match turn {
        Ask(score) => i64::from(*score),
        _ => 0,
    };
    let is_clear = |turn: &&Turn| {
        **turn == Unreadable || (score_of(turn) - limits.threshold).abs() >= limits.margin
    };
    match window.iter().rev().find(is_clear).or(window.first()) {
        None | Some(Unreadable) => (Mode::Unchanged, Why::Fallback),
        Some(turn) if score_of(turn) >= limits.threshold => (Mode::Reasoning, Why::Classifier),
        Some(_) => (Mode::Direct, Why::Classifier),
    }
}

/// `routing`, in thousandths.
#[derive(Debug, Clone)]
struct Limits {
    threshold: i64,
    margin: i64,
    turns: usize,
}

impl Limits {
    fn policy(&self) -> Policy {
        Policy::new(Routing {
            threshold: self.threshold as f64 / 1000.0,
            switch_margin: self.margin as f64 / 1000.0,
            turns: self.turns,
            domains: Default::default(),
            fallback: Mode::Unchanged,
        })
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let thousandths = |most: i64| prop_oneof![Just(most / 5), Just(most / 2), 0..=most];
    (thousandths(1000), thousandths(500), 1..8usize).prop_map(|(threshold, margin, turns)| Limits {
        threshold,
        margin,
        turns,
    })
}

fn followup() -> impl Strategy<Value = Turn> {
    const WORDS: &[&str] = &["yes", "go on", "ok thanks", "继续", "why?", "👍", " "];
    prop::sample::select(WORDS).prop_map(FollowUp)
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        1 => Just(Image),
        2 => followup(),
        5 => (300..700u32).prop_map(Ask), // around most thresholds
        2 => (0..=10u32).prop_map(|hundreds| Ask(hundreds * 100)),
        1 => Just(Unreadable),
    ]
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    prop::collection::vec(turn(), 0..14).prop_filter("no blank word first", |turns| {
        turns.first() != Some(&FollowUp(" "))
    })
}

proptest! {
    #[test]
    fn the_turn_that_the_rule_names_decides(limits in limits(), turns in turns()) {
        prop_assume!(!turns.is_empty());
        let got = decide(&limits.policy(), &turns);
        prop_assert_eq!((got.mode, got.why), reference(&limits, &turns));
    }

    #[test]
    fn a_turn_with_nothing_to_judge_changes_nothing(limits in limits(), turns in turns(), extra in prop_oneof![Just(Image), followup()]) {
        prop_assume!(!turns.is_empty());
        let policy = limits.policy();
        let appended = [turns.as_slice(), &[extra]].concat();
        prop_assert_eq!(decide(&policy, &turns), decide(&policy, &appended));
    }

    #[test]
    fn a_last_turn_that_is_clear_wins(limits in limits(), turns in turns(), score in 0..=1000u32) {
        prop_assume!((i64::from(score) - limits.threshold).abs() >= limits.margin);
        let got = decide(&limits.policy(), &[turns.as_slice(), &[Ask(score)]].concat());
        let is_over = i64::from(score) >= limits.threshold;
        prop_assert_eq!(got.mode, if is_over { Mode::Reasoning } else { Mode::Direct });
        prop_assert_eq!(got.score, Some(f64::from(score) / 1000.0));
    }

    #[test]
    fn older_turns_than_the_one_that_decides_do_not_matter(limits in limits(), turns in turns(), others in turns()) {
        let policy = limits.policy();
        let (decision, scanned) = scan(&policy, &turns, usize::MAX);
        let decided = scanned.iter().find(|turn| turn.verdict == TurnVerdict::Decided);
        prop_assume!(decided.is_some());
        // Behind the system message, every turn is a message and its answer.
        let (_, since) = turns.split_at((decided.unwrap().message_index - 1) / 2);
        prop_assert_eq!(&decide(&policy, since), &decision);
        let score = (decision.score.unwrap() * 1000.0).round() as i64;
        let is_clear = (score - limits.threshold).abs() >= limits.margin;
        if is_clear && !matches!(since, [FollowUp(_), ..]) {
            prop_assert_eq!(&decide(&policy, &[others.as_slice(), since].concat()), &decision);
        }
    }

    #[test]
    fn a_scan_goes_backwards_and_needs_no_more_scores_than_configured(limits in limits(), turns in turns()) {
        let (_, scanned) = scan(&limits.policy(), &turns, usize::MAX);
        prop_assert!(scanned.iter().filter(|turn| turn.classification.is_some()).count() <= limits.turns);
        prop_assert!(scanned.is_sorted_by(|a, b| a.message_index > b.message_index));
        prop_assert!(scanned.iter().filter(|turn| turn.verdict == TurnVerdict::Decided).count() <= 1);
        prop_assert!(scanned.iter().all(|turn| turn.classification.is_none() == (turn.verdict == TurnVerdict::Skipped)));
    }

    #[test]
    fn a_missing_score_is_a_fallback_whatever_scores_are_known(limits in limits(), turns in turns(), fails_at: prop::sample::Index) {
        let policy = limits.policy();
        let scores = scan(&policy, &turns, usize::MAX).1.iter().filter(|turn| turn.classification.is_some()).count();
        prop_assume!(scores > 0);
        let fails_at = fails_at.index(scores);
        let (decision, scanned) = scan(&policy, &turns, fails_at);
        prop_assert_eq!((decision.mode, decision.why, decision.fallback_reason), (Mode::Unchanged, Why::Fallback, Some(FallbackReason::Late)));
        prop_assert_eq!(scanned.iter().filter(|turn| turn.classification.is_some()).count(), fails_at);
    }
}

#[test]
fn a_margin_of_three_digits_is_reached_by_a_score_of_three_digits() {
    for (threshold, margin, score) in [(200, 100, 300), (700, 100, 800), (100, 200, 300)] {
        let limits = Limits {
            threshold,
            margin,
            turns: 8,
        };
        let got = decide(&limits.policy(), &[Ask(0), Ask(score)]);
        assert_eq!(got.mode, Mode::Reasoning, "{threshold} + {margin}");
    }
}
