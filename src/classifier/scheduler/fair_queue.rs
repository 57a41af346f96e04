//! A queue in which tenants take turns: deficit round robin by cost (Shreedhar and Varghese, 1995).
//!
//! Each tenant has a queue of its own. In its turn it gets [`QUANTUM`] more to spend, and runs as many requests as it can pay for.
//! So a tenant with a thousand requests and one with a single one get the same work done, and the single one does not wait for the
//! thousand.

use std::{collections::VecDeque, time::Instant};

use super::request::Queued;
use crate::tenant::Tenant;

/// What a turn is worth, in the unit of `Excerpt::cost`: the cost of an empty text. The smaller it is, the shorter another tenant's
/// turn takes.
const QUANTUM: u64 = 64;

/// Requests of several tenants, in the order in which they run.
#[derive(Default)]
pub struct FairQueue {
    /// The tenants with requests, in the order of their turns. None is without requests.
    flows: VecDeque<Flow>,
    len: usize,
}

/// The requests of one tenant.
struct Flow {
    tenant: Tenant,
    queue: VecDeque<Queued>,
    /// The cost of all of them.
    cost: u64,
    /// What it may spend in its turn.
    deficit: u64,
    /// True once it got the quantum of the turn that it is in.
    has_quantum: bool,
}

impl FairQueue {
    /// The number of requests.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there are no requests.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The cost of all requests.
    pub fn cost(&self) -> u64 {
        self.flows.iter().map(|flow| flow.cost).sum()
    }

    /// When the oldest request was queued.
    pub fn oldest(&self) -> Option<Instant> {
        let oldest_of = |flow: &Flow| flow.queue.front().map(|queued| queued.queued_at);
        self.flows.iter().filter_map(oldest_of).min()
    }

    /// Removes all requests.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.len = 0;
    }

    /// Adds a request behind those of its tenant.
    pub fn push(&mut self, queued: Queued) {
        let cost = queued.reservation.cost();
        self.len += 1;
        let tenant = &queued.request.tenant;
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.tenant == *tenant) {
            flow.cost += cost;
            flow.queue.push_back(queued);
            return;
        }
        self.flows.push_back(Flow {
            tenant: tenant.clone(),
            queue: VecDeque::from([queued]),
            cost,
            deficit: 0,
            has_quantum: false,
        });
    }

    /// Takes the request whose turn it is.
    pub fn pop(&mut self) -> Option<Queued> {
        self.skip_idle_rounds();
        loop {
            let is_alone = self.flows.len() == 1;
            let flow = self.flows.front_mut()?;
            if !flow.has_quantum {
                flow.has_quantum = true;
                flow.deficit += QUANTUM;
            }
            if !is_alone && flow.deficit < flow.next_cost() {
                flow.has_quantum = false;
                self.flows.rotate_left(1);
                continue;
            }
            let queued = flow.queue.pop_front()?;
            let cost = queued.reservation.cost();
            flow.deficit = flow.deficit.saturating_sub(cost);
            flow.cost -= cost;
            self.len -= 1;
            if flow.queue.is_empty() {
                self.flows.pop_front();
            }
            return Some(queued);
        }
    }

    /// Gives every tenant the quanta of the rounds in which none could pay for a request, so that `pop` need not go round for them.
    fn skip_idle_rounds(&mut self) {
        let missing = |flow: &Flow| flow.next_cost().saturating_sub(flow.deficit);
        let least = self.flows.iter().map(missing).min().unwrap_or(0);
        let idle = (least / QUANTUM).saturating_sub(1) * QUANTUM;
        if idle > 0 {
            for flow in &mut self.flows {
                flow.deficit += idle;
            }
        }
    }

    /// The cost of the requests that would run before a new one of this tenant and cost, at most, if no other tenant comes.
    pub fn cost_ahead(&self, tenant: &Tenant, cost: u64) -> u64 {
        let place = self.flows.iter().position(|flow| flow.tenant == *tenant);
        let own = place.and_then(|place| self.flows.get(place));
        let (queued, deficit, in_turn) = own.map_or((0, 0, false), |own| {
            (own.cost, own.deficit, own.has_quantum)
        });
        // The turns that it still has to wait for; those in front of it have theirs first.
        let turns = (queued + cost).saturating_sub(deficit).div_ceil(QUANTUM);
        let others = self.flows.iter().enumerate();
        let others = others.filter(|(index, _)| Some(*index) != place);
        let of_others = others.map(|(index, flow)| {
            let is_before = in_turn || place.is_none_or(|place| index < place);
            let turns = turns.saturating_sub(u64::from(!is_before));
            let new_quanta = turns.saturating_sub(u64::from(flow.has_quantum));
            flow.cost.min(flow.deficit + new_quanta * QUANTUM)
        });
        queued + of_others.sum::<u64>()
    }

    /// Takes the last request of the tenant that has the most, to make place for one of `tenant`. `None` when `tenant` itself has
    /// as many. Requests without a due time stay.
    pub fn displace_for(&mut self, tenant: &Tenant) -> Option<Queued> {
        let own = self.flows.iter().find(|flow| flow.tenant == *tenant);
        let own = own.map_or(0, |flow| flow.queue.len());
        let can_leave = |flow: &&mut Flow| flow.queue.back().is_some_and(|last| last.due.is_some());
        let longest = self.flows.iter_mut().filter(can_leave);
        let longest = longest.max_by_key(|flow| flow.queue.len())?;
        if longest.queue.len() <= own + 1 {
            return None; // so that none is left without requests either
        }
        let displaced = longest.queue.pop_back()?;
        longest.cost -= displaced.reservation.cost();
        self.len -= 1;
        Some(displaced)
    }
}

impl Flow {
    fn next_cost(&self) -> u64 {
        let next = self.queue.front();
        next.map_or(0, |queued| queued.reservation.cost())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;
    use crate::classifier::{
        excerpt::Excerpt,
        scheduler::{Backlog, ClassificationRequest},
    };

    fn tenant(number: usize) -> Tenant {
        Tenant::Key(number.to_string().into())
    }

    fn queued(number: usize, cost: u64) -> Queued {
        let request = ClassificationRequest {
            excerpt: Excerpt::of("", 16),
            tenant: tenant(number),
            reply: oneshot::channel().0,
        };
        let backlog = Arc::new(Backlog::new(1));
        let now = Instant::now();
        Queued::new(request, &backlog, cost, Some(now), now)
    }

    fn taken(queue: &mut FairQueue) -> Option<(Tenant, u64)> {
        let queued = queue.pop()?;
        Some((queued.request.tenant, queued.reservation.cost()))
    }

    #[test]
    fn one_tenants_requests_run_in_their_order() {
        let mut queue = FairQueue::default();
        for cost in [300, 64, 1_000] {
            queue.push(queued(0, cost));
        }
        assert_eq!((queue.len(), queue.cost()), (3, 1_364));
        let costs: Vec<u64> = std::iter::from_fn(|| Some(taken(&mut queue)?.1)).collect();
        assert_eq!(costs, [300, 64, 1_000]);
        assert!(queue.is_empty() && queue.cost() == 0);
    }

    #[test]
    fn a_single_request_does_not_wait_for_a_thousand_of_another_tenant() {
        let mut queue = FairQueue::default();
        for _ in 0..1_000 {
            queue.push(queued(0, 100));
        }
        assert_eq!(queue.cost_ahead(&tenant(0), 100), 100_000);
        queue.pop();
        assert!(queue.cost_ahead(&tenant(1), 100) <= 200);
        queue.push(queued(1, 100));
        let first = (0..4).position(|_| taken(&mut queue).unwrap().0 == tenant(1));
        assert!(first.is_some(), "it does not run among the next four");
    }

    #[test]
    fn a_full_queue_loses_the_last_request_of_the_tenant_with_the_most() {
        let mut queue = FairQueue::default();
        for _ in 0..3 {
            queue.push(queued(0, 100));
        }
        queue.push(queued(1, 100));
        assert!(queue.displace_for(&tenant(0)).is_none());
        let displaced = queue.displace_for(&tenant(2)).unwrap();
        assert_eq!(displaced.request.tenant, tenant(0));
        assert!(
            queue.displace_for(&tenant(1)).is_none(),
            "two and one are fair"
        );
        assert_eq!((queue.len(), queue.cost()), (3, 300));
    }

    proptest! {
        #[test]
        fn tenants_that_always_have_requests_get_the_same_work_done(
            costs in prop::collection::vec(prop::collection::vec(64_u64..2_200, 1..8), 2..6),
        ) {
            let mut queue = FairQueue::default();
            for (number, costs) in costs.iter().enumerate() {
                for cost in costs.iter().cycle().take(400) {
                    queue.push(queued(number, *cost));
                }
            }
            let mut done: HashMap<Tenant, u64> = (0..costs.len()).map(|n| (tenant(n), 0)).collect();
            for _ in 0..300 {
                let (tenant, cost) = taken(&mut queue).unwrap();
                *done.entry(tenant).or_default() += cost;
                let (least, most) = (done.values().min(), done.values().max());
                let apart = most.unwrap() - least.unwrap();
                prop_assert!(apart <= 2_200 + 2 * QUANTUM, "{} apart", apart);
            }
        }

        #[test]
        fn no_more_runs_before_a_request_than_was_estimated(
            before in prop::collection::vec((0_usize..4, 64_u64..2_200), 0..60),
            popped in 0_usize..30, number in 0_usize..5, cost in 64_u64..2_200,
        ) {
            let mut queue = FairQueue::default();
            for (number, cost) in &before {
                queue.push(queued(*number, *cost));
            }
            for _ in 0..popped {
                queue.pop();
            }
            let estimated = queue.cost_ahead(&tenant(number), cost);
            let own = queue.flows.iter().find(|flow| flow.tenant == tenant(number));
            let mut own_ahead = own.map_or(0, |own| own.queue.len());
            queue.push(queued(number, cost));
            let mut ahead = 0;
            loop {
                let (taken, cost) = taken(&mut queue).unwrap();
                if taken == tenant(number) {
                    if own_ahead == 0 {
                        break;
                    }
                    own_ahead -= 1;
                }
                ahead += cost;
            }
            prop_assert!(ahead <= estimated, "{} ran, {} were estimated", ahead, estimated);
        }
    }
}
