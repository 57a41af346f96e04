//! The walk over a conversation: from its last turn backwards to the one whose score decides.
//!
//! A request carries its whole history, so the mode needs no memory: replicas and restarts agree. A turn decides when its
//! score is at least `switch_margin` away from the threshold; if none does, the first of those looked at decides at the plain
//! threshold. So a conversation keeps its mode until a turn clearly asks for the other, and turns older than the one that
//! decides do not matter.
//!
//! The walk asks for a score at a time and holds no classifier, so that it is a pure function of the request and the scores.

use std::borrow::Cow;

use serde::Serialize;

use super::{Conversation, Decision, Policy};
use crate::classifier::{Classification, FallbackReason};

/// A walk under way.
#[derive(Debug)]
pub struct Walk<'c> {
    policy: &'c Policy,
    conversation: &'c Conversation<'c>,
    /// How many turns are still to be looked at, all older than those visited.
    ahead: usize,
    visits: Vec<Visit>,
    scores: usize,
    is_over: bool,
}

/// A turn of the user that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    /// Its place among all messages of the request.
    pub message: usize,
    /// What became of it.
    pub verdict: Verdict,
    /// What the classifier saw in it; `None` when it was skipped.
    pub seen: Option<Classification>,
}

/// What a turn was for the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There was nothing to judge.
    Skipped,
    /// Too near the threshold to change the mode, or not readable.
    Undecided,
    /// The mode is its.
    Decided,
}

impl Policy {
    /// A walk over `conversation`: score each [`Walk::next_text`], then [`Walk::end`] it.
    pub fn walk<'c>(&'c self, conversation: &'c Conversation<'c>) -> Walk<'c> {
        Walk {
            policy: self,
            conversation,
            ahead: conversation.turns(),
            visits: Vec::new(),
            scores: 0,
            is_over: false,
        }
    }
}

impl<'c> Walk<'c> {
    /// The text to score next; `None` when no more scores are needed. At most `routing.turns` in all.
    pub fn next_text(&mut self) -> Option<Cow<'c, str>> {
        while !self.is_over && self.scores < self.policy.turns {
            self.ahead = self.ahead.checked_sub(1)?;
            if let Some(text) = self.conversation.judgeable(self.ahead) {
                return Some(text);
            }
            self.visit(Verdict::Skipped, None);
        }
        None
    }

    /// Takes what the classifier saw in the text that was asked for last.
    pub fn saw(&mut self, seen: Classification) {
        self.scores += 1;
        // What cannot be read may have asked for anything: nothing older speaks for it.
        self.is_over = seen.unreadable || self.policy.is_decisive(&seen);
        self.visit(Verdict::Undecided, Some(seen));
    }

    /// Ends the walk: the decision, and the turns in the order they were looked at, the last one first.
    ///
    /// `reason`: why a score could not be had. What is known by then does not decide, since how much that is depends on the
    /// hour, and another replica would know more or less.
    pub fn end(self, reason: Option<FallbackReason>) -> (Decision, Vec<Visit>) {
        let Self {
            policy,
            conversation,
            mut visits,
            ..
        } = self;
        if let Some(reason) = reason {
            return (policy.fallback(reason), visits);
        }
        let last_scored = visits
            .iter_mut()
            .rev()
            .find_map(|visit| Some((&mut visit.verdict, visit.seen.as_ref()?)));
        let Some((verdict, seen)) = last_scored else {
            return (policy.fallback(FallbackReason::Nothing), visits);
        };
        let decision = policy.judge(seen, conversation.is_in_tool_loop());
        if decision.fallback_reason.is_none() {
            *verdict = Verdict::Decided;
        }
        (decision, visits)
    }

    fn visit(&mut self, verdict: Verdict, seen: Option<Classification>) {
        self.visits.push(Visit {
            message: self.conversation.place(self.ahead),
            verdict,
            seen,
        });
    }
}
