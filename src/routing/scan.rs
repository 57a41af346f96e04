//! Scans the turns of a conversation, from the last one backwards, for the turn whose score decides.
//!
//! A request carries its whole history, so the mode needs no memory: replicas and restarts agree. A turn decides when its
//! score is at least `switch_margin` away from the threshold. If no turn does, the oldest one that was scored decides at the
//! plain threshold. So a conversation keeps its mode until a turn clearly calls for the other one, and turns older than the
//! deciding one do not matter.
//!
//! The scan asks for one score at a time and holds no classifier, so it is a pure function of the request and the scores.

use std::borrow::Cow;

use serde::Serialize;

use super::{Conversation, Decision, Policy};
use crate::classifier::{Classification, FallbackReason};

/// A scan in progress.
#[derive(Debug)]
pub struct TurnScan<'c> {
    policy: &'c Policy,
    conversation: &'c Conversation<'c>,
    /// How many turns were not scanned yet. All of them are older than those in `scanned`.
    remaining: usize,
    scanned: Vec<ScannedTurn>,
    scores: usize,
    is_over: bool,
}

/// A turn of the user that was scanned.
#[derive(Debug, Clone, PartialEq)]
pub struct ScannedTurn {
    /// Its index among all messages of the request.
    pub message_index: usize,
    /// What the turn meant for the decision.
    pub verdict: TurnVerdict,
    /// The classifier's result for it; `None` when the turn was skipped.
    pub classification: Option<Classification>,
}

/// What a turn meant for the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnVerdict {
    /// The turn holds nothing to judge.
    Skipped,
    /// The score is too near the threshold to change the mode, or the text is not readable.
    Undecided,
    /// This turn decided the mode.
    Decided,
}

impl Policy {
    /// Starts a scan of `conversation`: score each [`TurnScan::next_text`], then call [`TurnScan::finish`].
    pub fn scan<'c>(&'c self, conversation: &'c Conversation<'c>) -> TurnScan<'c> {
        TurnScan {
            policy: self,
            conversation,
            remaining: conversation.turns(),
            scanned: Vec::new(),
            scores: 0,
            is_over: false,
        }
    }
}

impl<'c> TurnScan<'c> {
    /// The text to score next; `None` when no more scores are needed. Yields at most `routing.turns` texts.
    pub fn next_text(&mut self) -> Option<Cow<'c, str>> {
        while !self.is_over && self.scores < self.policy.settings.turns {
            self.remaining = self.remaining.checked_sub(1)?;
            if let Some(text) = self.conversation.judgeable(self.remaining) {
                return Some(text);
            }
            self.push(TurnVerdict::Skipped, None);
        }
        None
    }

    /// Takes the classifier's result for the text that [`TurnScan::next_text`] returned last.
    pub fn observe(&mut self, classification: Classification) {
        self.scores += 1;
        // An unreadable turn may have asked for anything, so no older turn speaks for it.
        self.is_over = classification.unreadable || self.policy.is_decisive(&classification);
        self.push(TurnVerdict::Undecided, Some(classification));
    }

    /// Ends the scan. Returns the decision and the scanned turns, the last turn of the conversation first.
    ///
    /// `reason`: why a score could not be had. The decision is then the fallback, whatever scores are already known: how many
    /// are known depends on timing, and another replica would know more or fewer.
    pub fn finish(self, reason: Option<FallbackReason>) -> (Decision, Vec<ScannedTurn>) {
        let Self {
            policy,
            conversation,
            mut scanned,
            ..
        } = self;
        if let Some(reason) = reason {
            return (policy.fallback(reason), scanned);
        }
        let last_scored = scanned
            .iter_mut()
            .rev()
            .find_map(|turn| Some((&mut turn.verdict, turn.classification.as_ref()?)));
        let Some((verdict, classification)) = last_scored else {
            return (policy.fallback(FallbackReason::Nothing), scanned);
        };
        let decision = policy.judge(classification, conversation.is_in_tool_loop());
        if decision.fallback_reason.is_none() {
            *verdict = TurnVerdict::Decided;
        }
        (decision, scanned)
    }

    /// Keeps what became of a turn: of every turn that was scored, and of so many skipped ones that there are `routing.turns` in all. A
    /// conversation of a million short replies would fill the memory, and the answer of `/explain`.
    fn push(&mut self, verdict: TurnVerdict, classification: Option<Classification>) {
        let most = self.policy.settings.turns;
        if self.scanned.len() >= most {
            let is_skipped = |turn: &ScannedTurn| turn.classification.is_none();
            let Some(oldest) = self.scanned.iter().rposition(is_skipped) else {
                return; // cannot happen: no more than that are scored
            };
            if classification.is_none() {
                return;
            }
            self.scanned.remove(oldest);
        }
        self.scanned.push(ScannedTurn {
            message_index: self.conversation.message_index(self.remaining),
            verdict,
            classification,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::ChatRequest, config::Routing};

    #[test]
    fn of_many_short_replies_no_more_are_kept_than_turns_are_configured() {
        let reply = r#"{"role":"user","content":"hi"},"#;
        let body = format!(
            "{{\"messages\":[{}{{\"role\":\"user\"}}]}}",
            reply.repeat(100_000)
        );
        let request = ChatRequest::read(body.into()).unwrap();
        let conversation = Conversation::of(&request).unwrap();
        let policy = Policy::new(Routing {
            turns: 8,
            ..Routing::default()
        });
        let mut scan = policy.scan(&conversation);
        assert_eq!(
            scan.next_text().as_deref(),
            Some("hi"),
            "the first turn is judged"
        );
        scan.observe(Classification {
            score: 0.9,
            domain: None,
            tokens: 1,
            truncated: false,
            unreadable: false,
        });
        let (decision, scanned) = scan.finish(None);
        assert!(decision.score.is_some());
        assert_eq!(scanned.len(), 8);
        assert_eq!(scanned.last().map(|turn| turn.message_index), Some(0));
        assert!(
            scanned
                .iter()
                .any(|turn| turn.verdict == TurnVerdict::Decided)
        );
    }
}
