//! The limit on requests in flight, and the shares of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::TenantShare;
use crate::error::{Error, Overload};

/// Counts the requests in flight. The limit comes with every request, so that a reload can change it.
#[derive(Debug, Default)]
pub struct ConcurrencyLimit {
    in_use: AtomicUsize,
}

/// The limits on the places of one request.
#[derive(Debug, Clone, Copy)]
pub struct PlaceLimits {
    /// `server.max_in_flight`.
    pub all: usize,
    /// `max_in_flight` of the request's key.
    pub of_key: Option<usize>,
}

impl ConcurrencyLimit {
    /// Takes a place for a request of this tenant.
    ///
    /// The last places ([`kept_places`]) are for tenants that hold fewer than an eighth of all.
    ///
    /// # Errors
    /// A 429 when all places are in use, when those that are left are kept for others, or when the key holds its own limit.
    pub fn try_acquire(
        self: &Arc<Self>,
        share: &TenantShare,
        limits: PlaceLimits,
    ) -> Result<Permit, Error> {
        let held = &share.holding.places;
        if let Some(limit) = limits.of_key
            && held.load(Ordering::Relaxed) >= limit
        {
            return Err(Error::KeyOverloaded { limit });
        }
        let is_small = held.load(Ordering::Relaxed) < limits.all.div_ceil(8);
        let open = match share.has_others && !is_small {
            true => limits.all - kept_places(limits.all),
            false => limits.all,
        };
        let one_more = |in_use: usize| (in_use < open).then(|| in_use + 1);
        let taken = self
            .in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        match taken {
            Ok(_) => {
                held.fetch_add(1, Ordering::Relaxed);
                Ok(Permit {
                    limit: self.clone(),
                    share: share.clone(),
                })
            }
            Err(in_use) if in_use < limits.all => Err(Error::Overloaded(Overload::Share)),
            Err(_) => Err(Error::Overloaded(Overload::Places)),
        }
    }

    /// How many places are in use.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

/// How many of the last places are kept for tenants that hold few: an eighth, at least 8, at most a quarter.
fn kept_places(all: usize) -> usize {
    (all / 8).max(8).min(all / 4)
}

/// One request's place in flight; dropping it returns it.
#[derive(Debug)]
pub struct Permit {
    limit: Arc<ConcurrencyLimit>,
    share: TenantShare,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limit.in_use.fetch_sub(1, Ordering::Relaxed);
        let held = &self.share.holding.places;
        held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::{pipeline::Holdings, tenant::Tenant};

    /// The tenants 0 to 3 of one gateway.
    fn tenants() -> Vec<TenantShare> {
        let holdings = Arc::new(Holdings::default());
        let enter = |name: &str| holdings.enter(Tenant::Key(name.into()), Instant::now());
        let mut tenants: Vec<_> = ["a", "b", "c", "d"].into_iter().map(enter).collect();
        tenants[0].has_others = true; // it came first
        tenants
    }

    fn limits(all: usize) -> PlaceLimits {
        PlaceLimits { all, of_key: None }
    }

    #[test]
    fn a_smaller_limit_holds_at_once_and_running_requests_keep_their_permits() {
        let limit = Arc::new(ConcurrencyLimit::default());
        let share = TenantShare {
            has_others: false,
            ..tenants()[0].clone()
        };
        let take = |all| limit.try_acquire(&share, limits(all));
        let (one, two) = (take(2).unwrap(), take(2).unwrap());
        assert!(take(2).is_err());
        drop(one);
        assert!(take(1).is_err(), "one is in use still");
        drop(two);
        assert!(take(1).is_ok());
        assert_eq!(limit.in_use(), 0);
    }

    #[test]
    fn the_kept_places_are_an_eighth_at_least_8_and_at_most_a_quarter() {
        for (all, kept) in [
            (1024, 128),
            (100, 12),
            (64, 8),
            (32, 8),
            (16, 4),
            (4, 1),
            (3, 0),
            (1, 0),
        ] {
            assert_eq!(kept_places(all), kept, "{all}");
        }
    }

    #[test]
    fn a_flooding_tenant_leaves_the_last_places_to_the_others_and_one_alone_takes_all() {
        let limit = Arc::new(ConcurrencyLimit::default());
        let tenants = tenants();
        let flood = |share: &TenantShare| {
            let mut taken = Vec::new();
            while let Ok(permit) = limit.try_acquire(share, limits(64)) {
                taken.push(permit);
            }
            taken
        };
        let flooding = flood(&tenants[0]);
        assert_eq!(flooding.len(), 56);
        assert_eq!(flood(&tenants[1]).len(), 8, "an eighth is a tenant's own");
        let alone = TenantShare {
            has_others: false,
            ..tenants[0].clone()
        };
        assert_eq!(flood(&alone).len(), 8, "the rest of all");
        drop(flooding);
        assert_eq!(limit.in_use(), 0);
    }

    #[test]
    fn a_key_has_a_limit_of_its_own() {
        let limit = Arc::new(ConcurrencyLimit::default());
        let tenants = tenants();
        let of_key = PlaceLimits {
            all: 64,
            of_key: Some(1),
        };
        let first = limit.try_acquire(&tenants[0], of_key).unwrap();
        let error = limit.try_acquire(&tenants[0], of_key).unwrap_err();
        assert_eq!(error, Error::KeyOverloaded { limit: 1 });
        assert!(limit.try_acquire(&tenants[1], of_key).is_ok());
        drop(first);
        assert!(limit.try_acquire(&tenants[0], of_key).is_ok());
    }

    proptest! {
        #[test]
        fn a_tenant_with_few_places_gets_one_unless_all_are_in_use(
            all in 1_usize..200,
            steps in prop::collection::vec((0_usize..4, prop::bool::weighted(0.8)), 0..600),
        ) {
            let limit = Arc::new(ConcurrencyLimit::default());
            let tenants = tenants();
            let mut held: Vec<Vec<Permit>> = tenants.iter().map(|_| Vec::new()).collect();
            for (tenant, takes) in steps {
                if !takes {
                    held[tenant].pop();
                    continue;
                }
                let in_use: usize = held.iter().map(Vec::len).sum();
                prop_assert_eq!(limit.in_use(), in_use);
                let is_small = held[tenant].len() * 8 < all;
                let taken = limit.try_acquire(&tenants[tenant], limits(all));
                let is_free = in_use < all - if is_small { 0 } else { kept_places(all) };
                prop_assert_eq!(taken.is_ok(), is_free);
                held[tenant].extend(taken.ok());
            }
            drop(held);
            prop_assert_eq!(limit.in_use(), 0);
        }
    }
}
