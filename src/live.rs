//! What one configuration built: the shared state that the doors serve from.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

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
    /// The instruments.
    pub metrics: Arc<Metrics>,
}

impl Live {
    /// What still keeps the gateway from serving; empty when it is ready.
    pub fn pending(&self) -> Vec<String> {
        self.catalog
            .load()
            .pending
            .iter()
            .map(|server| format!("the list of models of {server}"))
            .collect()
    }
}
