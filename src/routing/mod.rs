//! Decides whether the model should think, and which bytes switch it: a request becomes a [`Routed`].
//!
//! [`policy`] holds the rules (pure) and [`family`] the switches (data). [`conversation`] finds the turns that can be judged, and
//! [`scan`] finds the turn that decides. Both front doors and the offline commands call the same [`Router::route`].

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

use tokio::time::timeout;

pub use conversation::Conversation;
pub use decision::{Decision, Why, round3};
pub use family::Family;
pub use policy::Policy;
pub use scan::{ScannedTurn, TurnScan, TurnVerdict};

pub use crate::config::Mode;

use crate::{
    api::{BodyPieces, Change, ChatRequest, apply},
    classifier::{Classification, Classifier, Domain, FallbackReason},
    error::Error,
    tenant::Tenant,
};

/// What a model name in a request refers to, as far as the decision depends on it.
#[derive(Debug, Clone)]
pub enum Target {
    /// One model. Without a family, or with `gate: false`, its requests stay unchanged.
    Model {
        /// Its name in the configuration.
        name: Arc<str>,
        /// Its family; `None` when it was not recognised.
        family: Option<&'static Family>,
        /// `models.X.gate`.
        gate: bool,
    },
    /// A name that stands for one model per mode.
    Alias(BTreeMap<Mode, Target>),
}

/// A request with its decision. It can be rendered for any endpoint.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The request as the client sent it.
    pub request: ChatRequest,
    /// The model that answers: the one in the request, or the one that an alias chose.
    pub model: Arc<str>,
    /// What was decided, and why.
    pub decision: Decision,
    /// The turns that were scanned, the last one first; empty when the classifier was not needed.
    pub turns: Vec<ScannedTurn>,
    /// True when the mode chose the model. Then the choice of the model is the switch.
    is_alias: bool,
}

/// A request's body as it is sent to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The bytes to send.
    pub body: BodyPieces,
    /// The fields that we set, by every name that a server may use for them in an error; empty when we set none.
    pub fields: Vec<&'static str>,
}

/// Decides for every request. It has no state of its own: the same request gets the same decision on every replica.
#[derive(Debug)]
pub struct Router {
    classifier: Arc<Classifier>,
    policy: Policy,
    /// True when it waits for every score: no deadline and no full queue.
    is_patient: bool,
}

impl Router {
    /// A router that turns the scores of `classifier` into decisions by `policy`.
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

    /// The classifier that scores the turns.
    pub fn classifier(&self) -> &Arc<Classifier> {
        &self.classifier
    }

    /// True when the classifier failed for good, so that every decision that needs it falls back.
    pub fn is_degraded(&self) -> bool {
        self.classifier.is_down()
    }

    /// Decides for one request. `requested_mode` is the client's `x-thinkgate-mode`; the classifier works in the turns of `tenant`.
    ///
    /// A failure of the classifier is no error: the decision is then the fallback.
    ///
    /// # Errors
    /// A 400 when the messages are missing or malformed.
    pub async fn route(
        &self,
        request: ChatRequest,
        requested_mode: Option<Mode>,
        target: &Target,
        tenant: &Tenant,
    ) -> Result<Routed, Error> {
        let conversation = Conversation::of(&request)?;
        let decided =
            policy::decided_without_classifier(&request, &conversation, requested_mode, target);
        let (decision, turns) = match decided {
            Some(decision) => (decision, Vec::new()),
            None => self.judge(&conversation, tenant).await,
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
    async fn judge(
        &self,
        conversation: &Conversation<'_>,
        tenant: &Tenant,
    ) -> (Decision, Vec<ScannedTurn>) {
        let mut scan = self.policy.scan(conversation);
        let scores = async {
            while let Some(text) = scan.next_text() {
                scan.observe(match self.is_patient {
                    true => self.classifier.classify_without_deadline(&text).await?,
                    false => self.classifier.classify(&text, tenant).await?,
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
    /// The model for requests in `mode`, and its family.
    pub fn choose(&self, mode: Mode) -> (Arc<str>, Option<&'static Family>) {
        match self {
            Self::Model { name, family, .. } => (name.clone(), *family),
            Self::Alias(models) => match models.get(&mode).or_else(|| models.values().next()) {
                Some(target) => target.choose(mode),
                None => ("".into(), None), // cannot happen: an alias is validated to have all three
            },
        }
    }
}

impl Routed {
    /// The classifier's result for the turn that decided; `None` when another rule decided or no turn could be judged.
    pub fn deciding_classification(&self) -> Option<&Classification> {
        // `turns` begins with the last turn of the conversation, and the scan ends with the turn that decides.
        let mut oldest_first = self.turns.iter().rev();
        oldest_first.find_map(|turn| turn.classification.as_ref())
    }

    /// The subject of the turn that decided, with its probability; `None` also where that turn could not be read.
    pub fn domain(&self) -> Option<&Domain> {
        let classification = self.deciding_classification()?;
        let is_shown = self.decision.domain.is_some();
        classification.domain.as_ref().filter(|_| is_shown)
    }

    /// Makes the reported mode match the bytes that an endpoint of this family gets. `refused`: the server rejected our switch.
    pub fn reconcile(&mut self, family: Option<&Family>, refused: bool) {
        let wanted = self.decision.mode != Mode::Unchanged;
        let switched = family.is_some_and(Family::can_switch) && !refused;
        if !switched && !self.is_alias {
            self.decision.mode = Mode::Unchanged;
        }
        if refused && wanted {
            self.decision.why = Why::Refused;
        }
    }

    /// The body for an endpoint of this `family`. `name`: the endpoint's own name for the model, when it has one. The same
    /// family and name give the same bytes through every door.
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
