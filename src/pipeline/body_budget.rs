//! The limit on the bytes that are held of all bodies (`server.max_buffered_bytes`).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::TenantShare;
use crate::{
    config::Server,
    error::{Error, Overload},
};

/// What a request costs although hardly anything of its body is there: its buffers and its task. So the number of bodies that may
/// be on their way is limited too, to 16,384 by default.
const LEAST_BYTES: u64 = 16 << 10;

/// Counts the bytes that are held of all bodies. The limit comes with every request, so that a reload can change it.
#[derive(Debug, Default)]
pub struct BodyBudget {
    held: AtomicU64,
}

/// The limits on the bytes of bodies.
#[derive(Debug, Clone, Copy)]
pub struct BudgetLimits {
    all: u64,
    /// The last bytes, for short bodies and for tenants that hold little.
    kept: u64,
    least: u64,
}

impl BudgetLimits {
    /// The limits of the configuration.
    pub fn of(server: &Server) -> Self {
        let all = server.max_buffered_bytes;
        Self {
            all,
            // The largest body fits when nothing else is held.
            kept: (all / 8).min(all.saturating_sub(server.max_body_bytes)),
            least: LEAST_BYTES.min(server.max_body_bytes),
        }
    }

    /// The most that all may hold when a body has grown to `own` bytes, and its tenant to `of_tenant`.
    ///
    /// Large bodies leave the last eighth free: half of it is for tenants that hold less than an eighth, the other half also for
    /// short bodies. So neither large bodies of one tenant nor many small ones keep another tenant out.
    fn open_to(&self, own: u64, of_tenant: u64, has_others: bool) -> u64 {
        let is_small_tenant = has_others && of_tenant <= self.all / 8;
        let is_short = own <= (self.all / 256).max(self.least);
        match (is_small_tenant, is_short) {
            (true, _) => self.all,
            (false, true) if has_others => self.all - self.kept / 2,
            (false, true) => self.all,
            (false, false) => self.all - self.kept,
        }
    }
}

impl BodyBudget {
    /// Begins to hold a body of which nothing is there yet.
    ///
    /// # Errors
    /// A 429 when the limit is reached.
    pub fn hold(
        self: &Arc<Self>,
        share: &TenantShare,
        limits: BudgetLimits,
    ) -> Result<HeldBytes, Error> {
        let mut held = HeldBytes {
            budget: self.clone(),
            share: share.clone(),
            limits,
            bytes: 0,
        };
        held.grow(limits.least)?;
        Ok(held)
    }

    /// How many bytes are held.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

/// The bytes that are held of one body; dropping it releases them.
#[derive(Debug)]
pub struct HeldBytes {
    budget: Arc<BodyBudget>,
    share: TenantShare,
    limits: BudgetLimits,
    bytes: u64,
}

impl HeldBytes {
    /// Grows to `length` bytes of the body.
    ///
    /// # Errors
    /// A 429 when they do not fit. What was held is held on.
    pub fn grow_to(&mut self, length: usize) -> Result<(), Error> {
        match (length as u64).saturating_sub(self.bytes) {
            0 => Ok(()),
            more => self.grow(more),
        }
    }

    /// Counts the body twice, because a changed copy of it is made. It is never refused: the body is there, and those that come
    /// later find less room. Of a short body the copy is counted already.
    pub fn count_copy(&mut self) {
        if self.bytes <= self.limits.least {
            return;
        }
        self.budget.held.fetch_add(self.bytes, Ordering::Relaxed);
        let of_tenant = &self.share.holding.bytes;
        of_tenant.fetch_add(self.bytes, Ordering::Relaxed);
        self.bytes *= 2;
    }

    fn grow(&mut self, more: u64) -> Result<(), Error> {
        let of_tenant = &self.share.holding.bytes;
        let tenant_after = of_tenant.load(Ordering::Relaxed).saturating_add(more);
        let own_after = self.bytes + more;
        let open = self
            .limits
            .open_to(own_after, tenant_after, self.share.has_others);
        let grown = |held: u64| held.checked_add(more).filter(|after| *after <= open);
        self.budget
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .map_err(|_| Error::Overloaded(Overload::Bodies))?;
        of_tenant.fetch_add(more, Ordering::Relaxed);
        self.bytes = own_after;
        Ok(())
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        let of_tenant = &self.share.holding.bytes;
        of_tenant.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::{pipeline::Holdings, tenant::Tenant};

    const MIB: u64 = 1 << 20;

    /// A tenant; one that `has_others` is not the only one.
    fn tenant(holdings: &Arc<Holdings>, name: &str, has_others: bool) -> TenantShare {
        TenantShare {
            has_others,
            ..holdings.enter(Tenant::Key(name.into()), Instant::now())
        }
    }

    fn limits(max_body_bytes: u64, max_buffered_bytes: u64) -> BudgetLimits {
        BudgetLimits::of(&Server {
            max_body_bytes,
            max_buffered_bytes,
            ..Server::default()
        })
    }

    fn body(
        budget: &Arc<BodyBudget>,
        share: &TenantShare,
        limits: BudgetLimits,
        bytes: u64,
    ) -> Result<HeldBytes, Error> {
        let mut held = budget.hold(share, limits)?;
        held.grow_to(bytes as usize)?;
        Ok(held)
    }

    #[test]
    fn sixty_large_bodies_stay_under_the_limit_and_a_short_one_still_fits() {
        let (holdings, budget) = (
            Arc::new(Holdings::default()),
            Arc::new(BodyBudget::default()),
        );
        let limits = limits(32 * MIB, 256 * MIB);
        for has_others in [false, true] {
            let share = tenant(&holdings, "large", has_others);
            let large = || body(&budget, &share, limits, 30_000_000).ok();
            let held: Vec<_> = (0..60).filter_map(|_| large()).collect();
            assert_eq!(held.len(), 7);
            assert!(budget.held() <= 224 * MIB);
            assert!(body(&budget, &share, limits, 100_000).is_ok());
            drop(held);
            assert_eq!(budget.held(), 0);
        }
    }

    #[test]
    fn many_short_bodies_of_one_tenant_leave_room_for_the_others() {
        let (holdings, budget) = (
            Arc::new(Holdings::default()),
            Arc::new(BodyBudget::default()),
        );
        let limits = limits(32 * MIB, 256 * MIB);
        let (flooding, quiet) = (
            tenant(&holdings, "flooding", true),
            tenant(&holdings, "quiet", true),
        );
        let mut held = Vec::new();
        while let Ok(short) = body(&budget, &flooding, limits, MIB) {
            held.push(short);
        }
        assert_eq!(budget.held(), 240 * MIB);
        assert!(body(&budget, &quiet, limits, 15 * MIB).is_ok());
        assert!(body(&budget, &flooding, limits, 1).is_err());
    }

    #[test]
    fn a_slow_sender_costs_little_and_their_number_is_limited() {
        let (holdings, budget) = (
            Arc::new(Holdings::default()),
            Arc::new(BodyBudget::default()),
        );
        let limits = limits(32 * MIB, 256 * MIB);
        let share = tenant(&holdings, "slow", false);
        let slow: Vec<_> = (0..1024)
            .map(|_| body(&budget, &share, limits, 1))
            .collect();
        assert!(slow.iter().all(Result::is_ok));
        assert_eq!(budget.held(), 16 * MIB);
        let more: Vec<_> = (0..20_000)
            .map_while(|_| body(&budget, &share, limits, 1).ok())
            .collect();
        assert_eq!(more.len() + slow.len(), 16_384);
    }

    #[test]
    fn a_copy_is_counted_until_the_body_is_dropped() {
        let (holdings, budget) = (
            Arc::new(Holdings::default()),
            Arc::new(BodyBudget::default()),
        );
        let share = tenant(&holdings, "a", false);
        for (bytes, counted) in [(20_000, 40_000), (5, LEAST_BYTES)] {
            let mut held = body(&budget, &share, limits(MIB, MIB), bytes).unwrap();
            held.count_copy();
            assert_eq!(budget.held(), counted);
            drop(held);
            assert_eq!(budget.held(), 0);
        }
    }

    proptest! {
        #[test]
        fn the_largest_body_fits_when_nothing_else_is_held(
            largest in 1_u64..100 * MIB, room in 0_u64..300 * MIB, has_others: bool,
            chunk in 1_u64..2 * MIB,
        ) {
            let (holdings, budget) = (Arc::new(Holdings::default()), Arc::new(BodyBudget::default()));
            let limits = limits(largest, largest + room);
            let share = tenant(&holdings, "a", has_others);
            let mut held = budget.hold(&share, limits).unwrap();
            let mut length = 0;
            while length < largest {
                length = largest.min(length + chunk);
                prop_assert!(held.grow_to(length as usize).is_ok(), "{} of {}", length, largest);
            }
            prop_assert!(budget.held() <= largest + room);
            drop(held);
            prop_assert_eq!(budget.held(), 0);
        }
    }
}
