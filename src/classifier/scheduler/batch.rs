//! A batch of requests on its way through the model.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;
use tracing::{Span, error};

use super::{
    backlog::{Backlog, Reservation},
    request::{Lane, Queued},
};
use crate::{
    classifier::{
        Classification, FallbackReason, error::InferenceError, excerpt::Excerpt,
        inference::ExitMode,
    },
    tenant::Tenant,
};

/// Requests that one worker runs together.
pub struct Batch {
    /// Where they come from.
    pub lane: Lane,
    /// How far they run.
    pub exit_mode: ExitMode,
    /// The number of requests, including those whose caller has left.
    pub len: usize,
    pub(super) excerpts: Vec<Excerpt>,
    waiters: Waiters,
}

/// The callers of a batch.
pub struct Waiters {
    /// One for each excerpt; `None` once it is answered.
    waiting: Vec<Option<Waiter>>,
    results_left: usize,
    cost: u64,
    started: Instant,
    /// Learns how long the batch takes; `None` when that says nothing about the lane.
    measures: Option<Arc<Backlog>>,
}

/// The caller of one request.
pub struct Waiter {
    pub(super) reply: oneshot::Sender<Result<Classification, FallbackReason>>,
    pub(super) tenant: Tenant,
    pub(super) reservation: Reservation,
    pub(super) due: Option<Instant>,
}

impl Batch {
    pub(super) fn new(
        lane: Lane,
        exit_mode: ExitMode,
        queued: Vec<Queued>,
        started: Instant,
        measures: Option<Arc<Backlog>>,
    ) -> Self {
        let len = queued.len();
        let (excerpts, waiting): (Vec<_>, Vec<_>) = queued
            .into_iter()
            .filter(|queued| !queued.request.reply.is_closed())
            .map(|queued| {
                let waiter = Waiter {
                    reply: queued.request.reply,
                    tenant: queued.request.tenant,
                    reservation: queued.reservation,
                    due: queued.due,
                };
                (queued.request.excerpt, Some(waiter))
            })
            .unzip();
        let cost = |waiter: &Waiter| waiter.reservation.cost();
        Self {
            lane,
            exit_mode,
            len,
            waiters: Waiters {
                results_left: excerpts.len(),
                cost: waiting.iter().flatten().map(cost).sum(),
                waiting,
                started,
                measures,
            },
            excerpts,
        }
    }

    /// The texts for the model, and their callers.
    pub fn into_parts(self) -> (Vec<Excerpt>, Waiters) {
        (self.excerpts, self.waiters)
    }
}

impl Waiters {
    /// Sends the result of one excerpt to its caller. A result of `None` leaves the caller waiting.
    pub fn answer(
        &mut self,
        index: usize,
        result: Result<Option<Classification>, InferenceError>,
        now: Instant,
    ) {
        self.results_left = self.results_left.saturating_sub(1);
        if self.results_left == 0
            && let Some(backlog) = &self.measures
        {
            // Before the last answer, because its caller may send the next request at once.
            backlog.record_batch(self.cost, now.saturating_duration_since(self.started));
        }
        let result = match result {
            Ok(None) => return,
            Ok(Some(classification)) => Ok(classification),
            Err(failure) => {
                error!(parent: Span::none(), %failure, "the classifier failed");
                Err(FallbackReason::Failed)
            }
        };
        let Some(waiter) = self.waiting.get_mut(index).and_then(Option::take) else {
            return;
        };
        // Before the answer, so that the caller's next request does not count this one as pending.
        drop(waiter.reservation);
        let _ = waiter.reply.send(result); // the caller may have left
    }

    /// The excerpts without an answer, and their callers.
    pub fn unanswered(self, excerpts: Vec<Excerpt>) -> Vec<(Excerpt, Waiter)> {
        let all = excerpts.into_iter().zip(self.waiting);
        all.filter_map(|(excerpt, waiter)| Some((excerpt, waiter?)))
            .collect()
    }
}
