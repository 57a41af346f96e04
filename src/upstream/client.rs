//! How the gateway reaches model servers: a client per worker thread for forwarded requests, and one for its own requests.

use std::{sync::Arc, time::Duration};

use http::{Method, header::AUTHORIZATION};
use reqwest::{RequestBuilder, Response};
use tokio_util::sync::CancellationToken;

use super::{
    keys::ServerKeys,
    retry_budget::RetryBudget,
    server::ModelServer,
    transport::{Transport, client_builder},
};
use crate::{config::Upstream, net::Workers, telemetry::Metrics};

/// The time limit of the gateway's own requests, headers and body. A model server answers them from memory.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to model servers, shared by all requests.
#[derive(Debug, Clone)]
pub struct Client {
    /// One per worker thread.
    transports: Arc<[Transport]>,
    /// Sends the gateway's own requests.
    control: reqwest::Client,
    /// The keys for the gateway's own requests.
    keys: Arc<ServerKeys>,
    pub(super) settings: Upstream,
    pub(super) metrics: Arc<Metrics>,
    pub(super) retry_budget: Arc<RetryBudget>,
    /// Cancelled when the drain is over and running answers must end.
    abort: CancellationToken,
    /// A child token per worker: all waiters of one token share a lock, and every request waits.
    worker_aborts: Vec<CancellationToken>,
}

impl Client {
    /// A client with these settings.
    ///
    /// # Errors
    /// If the system's certificates cannot be read.
    pub fn new(
        settings: &Upstream,
        keys: Arc<ServerKeys>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let abort = CancellationToken::new();
        Ok(Self {
            transports: transport_per_worker(settings)?,
            control: client_builder(settings).build()?,
            keys,
            settings: *settings,
            metrics,
            retry_budget: Arc::default(),
            worker_aborts: (0..Workers::count()).map(|_| abort.child_token()).collect(),
            abort,
        })
    }

    /// The same client with other settings and keys. It shares the open connections unless their own limits changed.
    ///
    /// # Errors
    /// If the system's certificates cannot be read.
    pub fn with(&self, settings: &Upstream, keys: Arc<ServerKeys>) -> anyhow::Result<Self> {
        let of_connections = |settings: &Upstream| (settings.connect_ms, settings.pool_idle_ms);
        let mut client = self.clone();
        if of_connections(settings) != of_connections(&self.settings) {
            client.transports = transport_per_worker(settings)?;
            client.control = client_builder(settings).build()?;
        }
        (client.settings, client.keys) = (*settings, keys);
        Ok(client)
    }

    /// A request of the gateway's own to a server, with the server's key and a time limit.
    pub(super) fn control_request(
        &self,
        method: Method,
        server: &ModelServer,
        path: &str,
    ) -> RequestBuilder {
        let request = self.control.request(method, server.url.join(path));
        match self.keys.authorization(server.api_key.as_ref()) {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
        .timeout(CONTROL_TIMEOUT)
    }

    /// Cancelling this token ends every running answer: a stream of events with an error event, any other body by aborting it.
    pub fn abort_token(&self) -> &CancellationToken {
        &self.abort
    }

    /// The abort token of the current worker thread.
    pub(super) fn worker_abort_token(&self) -> &CancellationToken {
        let worker = Workers::current_index() % self.worker_aborts.len();
        &self.worker_aborts[worker] // there is at least one
    }

    /// The transport of the current worker thread.
    pub(super) fn worker_transport(&self) -> &Transport {
        let worker = Workers::current_index() % self.transports.len();
        &self.transports[worker] // there is at least one
    }
}

fn transport_per_worker(settings: &Upstream) -> Result<Arc<[Transport]>, reqwest::Error> {
    (0..Workers::count())
        .map(|_| Transport::new(settings))
        .collect()
}

/// Reads the whole body of a response to one of the gateway's own requests. Returns `None` if it is longer than `limit` bytes.
///
/// # Errors
/// Why the body did not arrive.
pub(super) async fn read_limited(
    mut response: Response,
    limit: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The innermost cause of an error: "connection refused" says more than "error sending request".
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
