//! The running gateway: what one configuration built, and the handle through which a reload replaces it.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use axum::extract::FromRef;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Keys, SharedLimits},
    config::Config,
    net::tls::Certificates,
    pipeline::{BodyBudget, ConcurrencyLimit, Holdings},
    routing::Router,
    telemetry::Metrics,
    upstream::{Catalog, Client},
};

/// Everything that a request needs of the running gateway.
#[derive(Debug)]
pub struct AppState {
    /// What the operator wrote.
    pub config: Config,
    /// The certificates of the listeners that use TLS.
    pub certificates: Certificates,
    /// The client keys.
    pub keys: Keys,
    /// The store that counts the requests of limited keys for all replicas; `None` without `auth.shared_limits`.
    pub shared_limits: Option<Arc<SharedLimits>>,
    /// Decides.
    pub router: Router,
    /// The models there are now; swapped when a server lists others.
    pub catalog: ArcSwap<Catalog>,
    /// True when the configuration before this one was ready. Servers that a reload adds do not make the gateway unready.
    pub was_ready: bool,
    /// Connections to model servers.
    pub client: Client,
    /// Limits the requests in flight. SharedState with earlier configurations, so that their requests count.
    pub concurrency: Arc<ConcurrencyLimit>,
    /// Limits the bytes that are held of bodies. Shared with earlier configurations too.
    pub body_budget: Arc<BodyBudget>,
    /// What every key, or every address, holds of both. Shared with earlier configurations too.
    pub holdings: Arc<Holdings>,
    /// Cancelled when the gateway has been asked to stop and is draining.
    pub stopping: CancellationToken,
    /// The instruments.
    pub metrics: Arc<Metrics>,
}

impl AppState {
    /// What still keeps the gateway from being ready; empty when it is ready.
    pub fn pending(&self) -> Vec<String> {
        let catalog = self.catalog.load();
        let listings = catalog.pending.iter().filter(|_| !self.was_ready);
        let mut pending: Vec<String> = listings
            .map(|server| format!("the list of models of {server}"))
            .collect();
        if self.router.is_degraded() && self.config.classifier.required {
            pending.push("the classifier".into());
        }
        if self.stopping.is_cancelled() {
            pending.push("stopping".into());
        }
        pending
    }

    /// The models none of whose servers is healthy. Requests are still tried: a model's last endpoint is never left out.
    pub fn models_without_server(&self) -> Vec<String> {
        let (is_checked, now) = (
            self.config.upstream.health_interval().is_some(),
            Instant::now(),
        );
        let catalog = self.catalog.load();
        let models = catalog.models().filter(|model| {
            let mut endpoints = model.endpoints.iter();
            // Behind Envoy a model may have no endpoints here.
            !model.endpoints.is_empty()
                && !endpoints.any(|endpoint| endpoint.is_healthy(is_checked, now))
        });
        models.map(|model| model.name.to_string()).collect()
    }

    /// What does not work although requests are served.
    pub fn degraded(&self) -> Vec<&'static str> {
        let store = self.shared_limits.as_ref();
        let is_degraded = [
            ("classifier", self.router.is_degraded()),
            ("shared_limits", store.is_some_and(|store| !store.is_up())),
            ("models", !self.models_without_server().is_empty()),
        ];
        let degraded = is_degraded
            .into_iter()
            .filter(|(_, is_degraded)| *is_degraded);
        degraded.map(|(name, _)| name).collect()
    }
}

/// A shared handle on the current [`AppState`]. A reload replaces the state; a request keeps the one it began with.
#[derive(Debug, Clone)]
pub struct StateHandle(Arc<SharedState>);

#[derive(Debug)]
struct SharedState {
    current: ArcSwap<AppState>,
    changed: Notify,
}

impl StateHandle {
    /// A handle on `state`.
    pub fn new(state: AppState) -> Self {
        Self(Arc::new(SharedState {
            current: ArcSwap::from_pointee(state),
            changed: Notify::new(),
        }))
    }

    /// The current state.
    pub fn load(&self) -> Arc<AppState> {
        self.0.current.load_full()
    }

    /// The current state, for a look that waits for nothing. It is not counted as a reference, which threads would share.
    pub fn peek(&self) -> arc_swap::Guard<Arc<AppState>> {
        self.0.current.load()
    }

    /// Makes `state` the current one for requests that begin from now on.
    pub fn replace(&self, state: AppState) {
        self.0.current.store(Arc::new(state));
        self.0.changed.notify_waiters();
    }

    /// Waits until the current state is another one than `state`.
    pub async fn changed_from(&self, state: &Arc<AppState>) {
        let changed = self.0.changed.notified();
        if Arc::ptr_eq(&self.load(), state) {
            changed.await;
        }
    }
}

impl FromRef<StateHandle> for Arc<AppState> {
    fn from_ref(handle: &StateHandle) -> Self {
        handle.load()
    }
}
