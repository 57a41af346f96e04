//! Decides which queued requests run next, and which of them run together. It has no threads and reads no clock.
//!
//! A model with an early exit has two lanes. While requests wait, they first run up to the exit only, many at once. Those about which the
//! exit is not confident are queued again, for all layers. So an easy text does not wait behind the long runs of others, and the
//! estimated wait for a long run is known before the request is admitted to it. Each worker alternates between the lanes, so neither
//! starves. Within a lane the tenants take turns, and a request is judged by when its own turn would come.

mod backlog;
mod batch;
mod fair_queue;
mod request;

use std::{sync::Arc, time::Instant};

pub use backlog::Backlog;
pub use batch::Batch;
pub use request::{ClassificationRequest, Lane, Queued};

use self::{batch::Waiter, fair_queue::FairQueue};
use super::{
    FallbackReason,
    excerpt::Excerpt,
    inference::{ExitMode, Inference},
};
use crate::tenant::Tenant;

/// What the scheduler needs to know of a worker's past.
#[derive(Debug)]
pub struct WorkerHistory {
    previous: Lane,
    full_lane_done_at: Instant,
}

/// The two lanes.
pub struct Scheduler {
    exit: LaneQueue,
    full: LaneQueue,
    workers: usize,
    /// The most requests with a due time in the full lane.
    full_lane_capacity: usize,
    is_closed: bool,
}

struct LaneQueue {
    queue: FairQueue,
    backlog: Arc<Backlog>,
}

impl Queued {
    /// Puts a request into the backlog of its lane. `due`: when the answer would probably be too late for the caller, if ever.
    pub fn new(
        request: ClassificationRequest,
        backlog: &Arc<Backlog>,
        cost: u64,
        due: Option<Instant>,
        now: Instant,
    ) -> Self {
        Self {
            request,
            reservation: backlog.reserve(cost),
            queued_at: now,
            due,
        }
    }
}

impl WorkerHistory {
    /// The history of a worker that starts now.
    pub fn new(now: Instant) -> Self {
        Self {
            previous: Lane::Full,
            full_lane_done_at: now,
        }
    }

    /// Records that the worker has finished a batch of this lane.
    pub fn record_done(&mut self, lane: Lane, now: Instant) {
        if lane == Lane::Full {
            self.full_lane_done_at = now;
        }
    }
}

impl LaneQueue {
    fn new(workers: usize) -> Self {
        Self {
            queue: FairQueue::default(),
            backlog: Arc::new(Backlog::new(workers)),
        }
    }

    /// True when a request of this tenant and cost, queued `now`, would probably be answered after `due`. Never true without `due`.
    fn is_too_late(&self, tenant: &Tenant, cost: u64, due: Option<Instant>, now: Instant) -> bool {
        due.is_some_and(|due| {
            let running = self
                .backlog
                .pending_cost()
                .saturating_sub(self.queue.cost());
            let ahead = running + self.queue.cost_ahead(tenant, cost);
            now + self.backlog.estimated_completion(ahead, cost) > due
        })
    }

    /// Makes place for a request of `tenant` where another one has queued more. That one's last request falls back. False when
    /// there is no such tenant.
    fn displace_for(&mut self, tenant: &Tenant) -> bool {
        let displaced = self.queue.displace_for(tenant);
        let is_displaced = displaced.is_some();
        if let Some(displaced) = displaced {
            let reply = displaced.request.reply;
            let _ = reply.send(Err(FallbackReason::Full)); // the caller may have left
        }
        is_displaced
    }
}

impl Scheduler {
    /// Empty lanes for this many workers.
    pub fn new(workers: usize, full_lane_capacity: usize) -> Self {
        Self {
            exit: LaneQueue::new(workers),
            full: LaneQueue::new(workers),
            workers: workers.max(1),
            full_lane_capacity,
            is_closed: false,
        }
    }

    /// The backlog that a new request joins.
    pub fn backlog(&self) -> &Arc<Backlog> {
        &self.exit.backlog
    }

    /// Queues a new request. Gives it back when the scheduler is closed.
    #[expect(clippy::result_large_err, reason = "the caller gets its request back")]
    pub fn push(&mut self, queued: Queued) -> Result<(), Queued> {
        if self.is_closed {
            return Err(queued);
        }
        self.exit.queue.push(queued);
        Ok(())
    }

    /// True when a new request of this tenant would probably be answered after `due`.
    pub fn is_too_late(
        &self,
        tenant: &Tenant,
        cost: u64,
        due: Option<Instant>,
        now: Instant,
    ) -> bool {
        self.exit.is_too_late(tenant, cost, due, now)
    }

    /// Makes place for a new request of `tenant` where the queue is full, if another tenant has queued more. False when none has.
    pub fn displace_for(&mut self, tenant: &Tenant) -> bool {
        self.exit.displace_for(tenant)
    }

    /// Takes no more new requests. Those that are queued still run.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// True after [`close`](Self::close).
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Removes all queued requests. Their callers fall back.
    pub fn clear(&mut self) {
        self.exit.queue.clear();
        self.full.queue.clear();
    }

    /// True when more than one request waits for all layers, so that a second worker is useful.
    pub fn has_full_lane_queue(&self) -> bool {
        self.full.queue.len() > 1
    }

    /// The next batch for a worker, or `None` when no request waits. It holds no more than the model's limits, and no more than this
    /// worker's share of the lane.
    pub fn next_batch(
        &mut self,
        model: &impl Inference,
        history: &mut WorkerHistory,
        now: Instant,
    ) -> Option<Batch> {
        let order = match history.previous {
            Lane::Exit => [Lane::Full, Lane::Exit],
            Lane::Full => [Lane::Exit, Lane::Full],
        };
        let lane = order
            .into_iter()
            .find(|lane| !self.lane(*lane).queue.is_empty())?;
        let has_exit = model.has_exit();
        let is_alone = self.exit.queue.len() + self.full.queue.len() == 1;
        let exit_mode = match lane {
            _ if !has_exit => ExitMode::Auto,
            Lane::Full => ExitMode::Full,
            Lane::Exit if is_alone => ExitMode::Auto,
            Lane::Exit => ExitMode::ExitOnly,
        };
        // A request in the full lane has also waited for the exit batches in between, so the lane's speed includes them.
        let started = match (lane, self.full.queue.oldest()) {
            (Lane::Full, Some(oldest)) => oldest.max(history.full_lane_done_at),
            _ => now,
        };
        let queued = self.take(lane, model, exit_mode);
        history.previous = lane;
        // A single text in auto mode may or may not have run through all layers, so it says nothing about the speed of its lane.
        let is_measured = exit_mode != ExitMode::Auto || !has_exit;
        let measures = is_measured.then(|| self.lane(lane).backlog.clone());
        Some(Batch::new(lane, exit_mode, queued, started, measures))
    }

    /// Queues the requests that the exit left without an answer for all layers. Refuses those that would probably be answered too late.
    /// `max_cost`: [`Inference::max_cost`].
    pub fn requeue(&mut self, unanswered: Vec<(Excerpt, Waiter)>, max_cost: u64, now: Instant) {
        for (excerpt, waiter) in unanswered {
            let Waiter {
                reply,
                tenant,
                reservation,
                due,
            } = waiter;
            drop(reservation);
            let cost = excerpt.cost.min(max_cost);
            let lane = &mut self.full;
            let is_full = due.is_some() && lane.queue.len() >= self.full_lane_capacity;
            if lane.is_too_late(&tenant, cost, due, now) || (is_full && !lane.displace_for(&tenant))
            {
                let _ = reply.send(Err(FallbackReason::Full)); // the caller may have left
                continue;
            }
            let request = ClassificationRequest {
                excerpt,
                tenant,
                reply,
            };
            let queued = Queued::new(request, &lane.backlog, cost, due, now);
            lane.queue.push(queued);
        }
    }

    /// Takes the requests whose turn it is from a lane that is not empty.
    fn take(&mut self, lane: Lane, model: &impl Inference, exit_mode: ExitMode) -> Vec<Queued> {
        let limits = model.batch_limits(exit_mode);
        let workers = self.workers;
        let queue = &mut self.lane_mut(lane).queue;
        let share = queue.len().saturating_sub(1) / workers + 1;
        let (mut batch, mut cost) = (Vec::new(), 0);
        while batch.is_empty() || (batch.len() < limits.rows.min(share) && cost < limits.cost) {
            let Some(queued) = queue.pop() else {
                break;
            };
            cost += queued.request.excerpt.cost;
            batch.push(queued);
        }
        batch
    }

    fn lane(&self, lane: Lane) -> &LaneQueue {
        match lane {
            Lane::Exit => &self.exit,
            Lane::Full => &self.full,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneQueue {
        match lane {
            Lane::Exit => &mut self.exit,
            Lane::Full => &mut self.full,
        }
    }
}

#[cfg(test)]
mod tests;
