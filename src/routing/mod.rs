//! Request -> [`Routed`]: should the model think, and which bytes say so.
//!
//! [`policy`] decides (pure), [`family`] knows the switches (data), [`conversation`] finds the turns that can be judged, and
//! [`scan`] the one that decides. Both front doors and the offline commands call the same [`Router::route`].

mod client_choice;
mod conversation;
mod decision;
pub mod family;
mod followup;
mod policy;
#[cfg(test)]
mod precedence;
mod scan;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tokio::time::timeout;

pub use conversation::Conversation;
pub use decision::{Decision, Why, round3};
pub use family::Family;
pub use policy::Policy;
pub use scan::{ScannedTurn, TurnScan, TurnVerdict};

pub use crate::config::Mode;

use crate::{
    api::{Change, ChatRequest, apply},
    classifier::{Classification, Classifier, Domain, FallbackReason},
    error::Error,
};

/// What a name in a request stands for, as far as the decision is concerned.
#[derive(Debug, Clone)]
pub enum Target {
    /// One model. Without a family it is not recognised; without the gate it is left alone.
    Model {
        /// The name here.
        name: Arc<str>,
        /// How it switches.
        family: Option<&'static Family>,
        /// `models.X.gate`.
        gate: bool,
    },
    /// One name with a model per mode.
    Alias(BTreeMap<Mode, Target>),
}

/// A request with its decision, ready to be rendered for any endpoint.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The request as the client sent it.
    pub request: ChatRequest,
    /// The model that answers: the one asked for, or the one an alias chose.
    pub model: Arc<str>,
    /// What was decided, and why.
    pub decision: Decision,
    /// The turns that were looked at for it, the last one first; empty when the classifier was not needed.
    pub turns: Vec<ScannedTurn>,
    /// True when the mode chose the model, which is a switch of its own.
    is_alias: bool,
}

/// A request's body for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The bytes to send.
    pub body: Bytes,
    /// The fields we set in them, by every name a server might blame; empty when the request has its own say.
    pub fields: Vec<&'static str>,
}

/// Decides for every request. Holds no state of its own: the same request gets the same decision on every replica.
#[derive(Debug)]
pub struct Router {
    classifier: Arc<Classifier>,
    policy: Policy,
    /// True: it waits for every score, whatever the deadline and the queue say.
    is_patient: bool,
}

impl Router {
    /// A router that gets its scores from `classifier` and judges them by `policy`.
    pub fn new(classifier: Arc<Classifier>, policy: Policy) -> Self {
        Self {
            classifier,
            policy,
            is_patient: false,
        }
    }

    /// The same for offline commands: no decision falls back because the classifier was late or its queue full.
    pub fn patient(classifier: Arc<Classifier>, policy: Policy) -> Self {
        Self {
            is_patient: true,
            ..Self::new(classifier, policy)
        }
    }

    /// The classifier that scores.
    pub fn classifier(&self) -> &Arc<Classifier> {
        &self.classifier
    }

    /// True when the classifier failed for good, so that every decision it should make falls back.
    pub fn is_degraded(&self) -> bool {
        self.classifier.is_down()
    }

    /// Decides for one request. `wish` is the client's `x-thinkgate-mode`.
    ///
    /// Trouble of the classifier is no error: the decision falls back and says so.
    ///
    /// # Errors
    /// A 400 when the messages are missing or malformed.
    pub async fn route(
        &self,
        request: ChatRequest,
        wish: Option<Mode>,
        target: &Target,
    ) -> Result<Routed, Error> {
        let conversation = Conversation::of(&request)?;
        let decided = policy::decided_without_classifier(&request, &conversation, wish, target);
        let (decision, turns) = match decided {
            Some(decision) => (decision, Vec::new()),
            None => self.judge(&conversation).await,
        };
        let (model, family) = target.choose(decision.mode);
        let mut routed = Routed {
            request,
            model,
            decision,
            turns,
            is_alias: matches!(target, Target::Alias(_)),
        };
        routed.reconcile(family, false);
        Ok(routed)
    }

    /// Scans the conversation, one score at a time: most scans end with the last turn, and older scores are in the cache.
    async fn judge(&self, conversation: &Conversation<'_>) -> (Decision, Vec<ScannedTurn>) {
        let mut scan = self.policy.scan(conversation);
        let scores = async {
            while let Some(text) = scan.next_text() {
                scan.observe(match self.is_patient {
                    true => self.classifier.classify_without_deadline(&text).await?,
                    false => self.classifier.classify(&text).await?,
                });
            }
            Ok(())
        };
        let scored = match self.is_patient {
            true => Ok(scores.await),
            false => timeout(self.classifier.deadline(), scores).await,
        };
        scan.finish(scored.unwrap_or(Err(FallbackReason::Late)).err())
    }
}

impl Target {
    /// The model that takes a request decided as `mode`, and its family.
    pub fn choose(&self, mode: Mode) -> (Arc<str>, Option<&'static Family>) {
        match self {
            Self::Model { name, family, .. } => (name.clone(), *family),
            Self::Alias(models) => match models.get(&mode).or_else(|| models.values().next()) {
                Some(target) => target.choose(mode),
                None => ("".into(), None), // an alias is validated to have all three
            },
        }
    }
}

impl Routed {
    /// What the classifier saw in the turn that decided; `None` when something else decided, or there was nothing to judge.
    pub fn deciding_classification(&self) -> Option<&Classification> {
        // The turns are listed from the last one backwards, and the scan ends with the one that decides.
        let mut oldest_first = self.turns.iter().rev();
        oldest_first.find_map(|turn| turn.classification.as_ref())
    }

    /// The subject of the turn that decided, with its probability; `None` also where that turn could not be read.
    pub fn domain(&self) -> Option<&Domain> {
        let seen = self.deciding_classification()?;
        let is_shown = self.decision.domain.is_some();
        seen.domain.as_ref().filter(|_| is_shown)
    }

    /// Says of the mode what the bytes for an endpoint of this family say. `refused`: the server would not take our switch.
    pub fn reconcile(&mut self, family: Option<&Family>, refused: bool) {
        let asked = self.decision.mode != Mode::Unchanged;
        let switched = family.is_some_and(Family::can_switch) && !refused;
        if !switched && !self.is_alias {
            self.decision.mode = Mode::Unchanged;
        }
        if refused && asked {
            self.decision.why = Why::Refused;
        }
    }

    /// The body for an endpoint whose models switch like `family` and that knows the model as `name`, when it has a name of
    /// its own for it. Same family, same name, same bytes, through every door.
    pub fn render(&self, family: Option<&Family>, name: Option<&str>) -> Rendered {
        let mut changes: Vec<Change> = match (self.decision.mode, family) {
            (Mode::Reasoning, Some(family)) => family.reasoning.to_vec(),
            (Mode::Direct, Some(family)) => family.direct.to_vec(),
            _ => Vec::new(),
        };
        let fields = changes.iter().flat_map(Change::fields).collect();
        let wanted = name.unwrap_or(&self.model);
        match self.request.model() {
            Some(asked) if asked != wanted => changes.push(Change::Model(wanted.to_owned())),
            None if name.is_some() => changes.push(Change::Model(wanted.to_owned())),
            _ => {}
        }
        Rendered {
            body: apply(&self.request, &changes),
            fields,
        }
    }
}
