//! How the gateway reaches model servers: connection pools for forwarded requests, an HTTP client for its own requests, and limits.

use std::{sync::Arc, time::Duration};

use http::{Method, header::AUTHORIZATION};
use reqwest::{RequestBuilder, Response};
use tokio_util::sync::CancellationToken;

use super::{
    ModelServer, ServerKeys,
    forward::RetryBudget,
    wire::{self, ConnectionPool},
};
use crate::{
    config::Upstream,
    net::{Workers, tls},
    telemetry::Metrics,
};

/// The time limit of the gateway's own requests, headers and body. A model server answers them from memory.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// The time limits of a forwarded request, and the number of its retries.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `upstream.connect_ms`.
    pub connect: Duration,
    /// `upstream.headers_ms`.
    pub headers: Duration,
    /// `upstream.first_chunk_ms`.
    pub first_chunk: Duration,
    /// `upstream.idle_ms`.
    pub idle: Duration,
    /// `upstream.pool_idle_ms`.
    pub pool_idle: Duration,
    /// `upstream.retries`.
    pub retries: u32,
}

impl Limits {
    fn of(settings: &Upstream) -> Self {
        let milliseconds = Duration::from_millis;
        Self {
            connect: milliseconds(settings.connect_ms),
            headers: milliseconds(settings.headers_ms),
            first_chunk: milliseconds(settings.first_chunk_ms),
            idle: milliseconds(settings.idle_ms),
            pool_idle: milliseconds(settings.pool_idle_ms),
            retries: settings.retries,
        }
    }
}

/// Connections to model servers, shared by all requests.
#[derive(Debug, Clone)]
pub struct Client {
    /// One pool per worker, so that a request and its connection stay on one thread.
    pools: Vec<ConnectionPool>,
    /// Sends the gateway's own requests.
    control: reqwest::Client,
    /// The keys for the gateway's own requests.
    keys: Arc<ServerKeys>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) retry_budget: Arc<RetryBudget>,
    /// Cancelled when the drain is over and running answers must end.
    abort: CancellationToken,
    /// A child token per worker: all waiters of one token share a lock, and every request waits.
    worker_aborts: Vec<CancellationToken>,
}

impl Client {
    /// A client with the limits of the configuration.
    ///
    /// # Errors
    /// If the system's certificates cannot be read.
    pub fn new(
        settings: &Upstream,
        keys: Arc<ServerKeys>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let limits = Limits::of(settings);
        let abort = CancellationToken::new();
        Ok(Self {
            pools: pool_per_worker(limits)?,
            control: control_client(limits)?,
            keys,
            limits,
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
        let limits = Limits::of(settings);
        let of_connections = |limits: &Limits| (limits.connect, limits.pool_idle);
        let mut client = self.clone();
        if of_connections(&limits) != of_connections(&self.limits) {
            (client.pools, client.control) = (pool_per_worker(limits)?, control_client(limits)?);
        }
        (client.limits, client.keys) = (limits, keys);
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

    /// The connection pool of the current worker thread.
    pub(super) fn worker_pool(&self) -> &ConnectionPool {
        let worker = Workers::current_index() % self.pools.len();
        &self.pools[worker] // there is at least one
    }
}

fn pool_per_worker(limits: Limits) -> Result<Vec<ConnectionPool>, rustls::Error> {
    let connector = wire::connector()?;
    let pool = |_| ConnectionPool::new(connector.clone(), limits.connect, limits.pool_idle);
    Ok((0..Workers::count()).map(pool).collect())
}

/// The client for the gateway's own requests: no proxy from the environment, no redirects, no retries.
fn control_client(limits: Limits) -> Result<reqwest::Client, reqwest::Error> {
    tls::install_crypto_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(limits.connect)
        .pool_idle_timeout(limits.pool_idle)
        .build()
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
