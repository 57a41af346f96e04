//! What one configuration built: the shared state that the doors serve from.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::Keys,
    config::Config,
    routing::Router,
    telemetry::Metrics,
    upstream::{Catalog, Client},
};

/// The running gateway, as far as a request needs it.
#[derive(Debug)]
pub struct Live {
    /// What the operator wrote.
    pub config: Config,
    /// Who may come in.
    pub keys: Keys,
    /// Decides.
    pub router: Router,
    /// Which models there are now; swapped when a server lists others.
    pub catalog: ArcSwap<Catalog>,
    /// Connections to model servers.
    pub client: Client,
    /// Places for requests in flight.
    pub places: Arc<Semaphore>,
    /// Cancelled when the gateway has been told to stop and runs its requests to their end.
    pub stopping: CancellationToken,
    /// The instruments.
    pub metrics: Arc<Metrics>,
}

impl Live {
    /// What still keeps the gateway from serving, or will soon; empty when it is ready.
    pub fn pending(&self) -> Vec<String> {
        let catalog = self.catalog.load();
        let listings = catalog.pending.iter();
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
