//! What every tenant holds of the gateway: places in flight, and bytes of bodies.
//!
//! A request looks its tenant up once, under one short lock; from then on it counts without a lock. A tenant that holds nothing is
//! forgotten, so the table is never longer than the list of running requests.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::tenant::Tenant;

/// How long another tenant's latest request counts. Where none came for so long, all requests come from one tenant.
const OTHERS_REMEMBERED: Duration = Duration::from_secs(600);

/// What every tenant holds.
#[derive(Debug, Default)]
pub struct Holdings(Mutex<TenantTable>);

#[derive(Debug, Default)]
struct TenantTable {
    tenants: HashMap<Tenant, Weak<Holding>>,
    /// The tenant of the latest request; `None` before the first one.
    latest: Option<Tenant>,
    /// When two requests in a row last had different tenants.
    mixed_at: Option<Instant>,
}

/// What one tenant holds.
#[derive(Debug)]
pub struct Holding {
    tenant: Tenant,
    holdings: Arc<Holdings>,
    /// Its places in flight.
    pub(super) places: AtomicUsize,
    /// The bytes that are held of its bodies.
    pub(super) bytes: AtomicU64,
}

/// The tenant of a request, with what it holds.
#[derive(Debug, Clone)]
pub struct TenantShare {
    pub(super) holding: Arc<Holding>,
    /// True when the tenant is not the only one, so that some is kept for the others.
    pub(super) has_others: bool,
}

impl Holdings {
    /// Finds what the tenant of a request holds.
    pub fn enter(self: &Arc<Self>, tenant: Tenant, now: Instant) -> TenantShare {
        let mut table = self.0.lock();
        if table.latest.as_ref() != Some(&tenant) {
            let before = table.latest.replace(tenant.clone());
            table.mixed_at = before.map(|_| now);
        }
        let has_others = table
            .mixed_at
            .is_some_and(|at| now.saturating_duration_since(at) < OTHERS_REMEMBERED);
        let known = table.tenants.get(&tenant).and_then(Weak::upgrade);
        let holding = known.unwrap_or_else(|| {
            let holding = Arc::new(Holding {
                tenant: tenant.clone(),
                holdings: self.clone(),
                places: AtomicUsize::new(0),
                bytes: AtomicU64::new(0),
            });
            table.tenants.insert(tenant, Arc::downgrade(&holding));
            holding
        });
        TenantShare {
            holding,
            has_others,
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut table = self.holdings.0.lock();
        // A request that came in between may have put another one in its place.
        let is_gone = |holding: &Weak<Self>| holding.strong_count() == 0;
        if table.tenants.get(&self.tenant).is_some_and(is_gone) {
            table.tenants.remove(&self.tenant);
        }
    }
}

impl TenantShare {
    /// Who the request counts for.
    pub fn tenant(&self) -> &Tenant {
        &self.holding.tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Tenant {
        Tenant::Key(name.into())
    }

    #[test]
    fn requests_of_one_tenant_share_what_it_holds_and_it_is_forgotten_with_the_last() {
        let holdings = Arc::new(Holdings::default());
        let now = Instant::now();
        let (one, two) = (holdings.enter(key("a"), now), holdings.enter(key("a"), now));
        assert!(Arc::ptr_eq(&one.holding, &two.holding));
        let other = holdings.enter(key("b"), now);
        assert!(!Arc::ptr_eq(&one.holding, &other.holding));
        assert_eq!(holdings.0.lock().tenants.len(), 2);
        drop((one, other));
        assert_eq!(holdings.0.lock().tenants.len(), 1);
        drop(two);
        assert!(holdings.0.lock().tenants.is_empty());
    }

    #[test]
    fn a_tenant_is_alone_until_another_one_comes_and_again_when_it_stays_away() {
        let holdings = Arc::new(Holdings::default());
        let now = Instant::now();
        let has_others = |name, at| holdings.enter(key(name), at).has_others;
        assert!(!has_others("a", now) && !has_others("a", now));
        assert!(has_others("b", now), "it is not the first");
        assert!(has_others("a", now) && has_others("a", now));
        assert!(!has_others("a", now + OTHERS_REMEMBERED));
    }
}
