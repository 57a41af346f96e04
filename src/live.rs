//! What one configuration built, and the one that is served from now.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::FromRef;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Keys,
    config::Config,
    places::Places,
    routing::Router,
    telemetry::Metrics,
    tls::Certificates,
    upstream::{Catalog, Client},
};

/// The running gateway, as far as a request needs it.
#[derive(Debug)]
pub struct Live {
    /// What the operator wrote.
    pub config: Config,
    /// What the doors with TLS show.
    pub certificates: Certificates,
    /// Who may come in.
    pub keys: Keys,
    /// Decides.
    pub router: Router,
    /// Which models there are now; swapped when a server lists others.
    pub catalog: ArcSwap<Catalog>,
    /// True when the configuration before it was ready: servers that a reload adds are not waited for.
    pub was_ready: bool,
    /// Connections to model servers.
    pub client: Client,
    /// Places for requests in flight; those of requests that began under an earlier configuration count.
    pub places: Arc<Places>,
    /// Cancelled when the gateway has been told to stop and runs its requests to their end.
    pub stopping: CancellationToken,
    /// The instruments.
    pub metrics: Arc<Metrics>,
}

impl Live {
    /// What still keeps the gateway from serving, or will soon; empty when it is ready.
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

    /// What does not work and keeps nothing from being served.
    pub fn degraded(&self) -> &'static [&'static str] {
        match self.router.is_degraded() {
            true => &["classifier"],
            false => &[],
        }
    }
}

/// The gateway as it is now. A reload puts another in its place; a request keeps the one it came in under to its end.
#[derive(Debug, Clone)]
pub struct Serving(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    live: ArcSwap<Live>,
    replaced: Notify,
}

impl Serving {
    /// Serves from `live` until it is replaced.
    pub fn new(live: Live) -> Self {
        Self(Arc::new(Inner {
            live: ArcSwap::from_pointee(live),
            replaced: Notify::new(),
        }))
    }

    /// What is served from now.
    pub fn live(&self) -> Arc<Live> {
        self.0.live.load_full()
    }

    /// Serves requests that come from now on from `live`.
    pub fn replace(&self, live: Live) {
        self.0.live.store(Arc::new(live));
        self.0.replaced.notify_waiters();
    }

    /// Waits until what is served is another than `live`.
    pub async fn replaced(&self, live: &Arc<Live>) {
        let replaced = self.0.replaced.notified();
        if Arc::ptr_eq(&self.live(), live) {
            replaced.await;
        }
    }
}

impl FromRef<Serving> for Arc<Live> {
    fn from_ref(serving: &Serving) -> Self {
        serving.live()
    }
}
