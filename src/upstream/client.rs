//! What requests need to reach model servers: connections for what is forwarded, a client for questions of our own, limits.

use std::{sync::Arc, time::Duration};

use http::{Method, header::AUTHORIZATION};
use reqwest::RequestBuilder;
use tokio_util::sync::CancellationToken;

use super::{
    Server, ServerKeys,
    budget::Budget,
    wire::{self, Wire},
};
use crate::{
    config::Upstream,
    net::{Workers, tls},
    telemetry::Metrics,
};

/// The most a question of our own may take, headers and body; a model server answers it from memory.
const ASK: Duration = Duration::from_secs(5);

/// The limits of one answer.
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
    /// A set a worker, so that a request and its connection stay on one thread.
    workers: Vec<Wire>,
    /// For questions of our own, which are asked on no worker.
    own: reqwest::Client,
    /// For the same.
    keys: Arc<ServerKeys>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    /// Cancelled when running answers have had their time after the stop.
    cut: CancellationToken,
    /// The same for each worker: who waits for one takes its lock, and all requests wait.
    cuts: Vec<CancellationToken>,
}

/// For questions of our own: no environment, no redirects, no decompression.
fn own(limits: Limits) -> Result<reqwest::Client, reqwest::Error> {
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

impl Client {
    /// A client with the limits of the configuration.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(
        settings: &Upstream,
        keys: Arc<ServerKeys>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let limits = Limits::of(settings);
        let cut = CancellationToken::new();
        Ok(Self {
            workers: a_worker_each(limits)?,
            own: own(limits)?,
            keys,
            limits,
            metrics,
            budget: Arc::default(),
            cuts: (0..Workers::count()).map(|_| cut.child_token()).collect(),
            cut,
        })
    }

    /// The same with other limits and keys: requests from here on share the connections that stand, where the limits allow it.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn with(&self, settings: &Upstream, keys: Arc<ServerKeys>) -> anyhow::Result<Self> {
        let limits = Limits::of(settings);
        let of_connections = |limits: &Limits| (limits.connect, limits.pool_idle);
        let mut client = self.clone();
        if of_connections(&limits) != of_connections(&self.limits) {
            (client.workers, client.own) = (a_worker_each(limits)?, own(limits)?);
        }
        (client.limits, client.keys) = (limits, keys);
        Ok(client)
    }

    /// A question of our own to a server, with its key and a limit.
    pub(super) fn ask(&self, method: Method, server: &Server, path: &str) -> RequestBuilder {
        let request = self.own.request(method, server.url.join(path));
        match self.keys.of(server.api_key.as_ref()) {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        }
        .timeout(ASK)
    }

    /// Cancelling it ends every answer that still runs: streams of events with an event that says so, other bodies by aborting
    /// them.
    pub fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// What the requests of the thread that asks wait for, to hear of the cut.
    pub(super) fn cut_here(&self) -> &CancellationToken {
        let here = Workers::current_index() % self.cuts.len();
        &self.cuts[here] // as many as workers, one at least
    }

    /// The connections of the thread that asks.
    pub(super) fn wire(&self) -> &Wire {
        let here = Workers::current_index() % self.workers.len();
        &self.workers[here] // as many as workers, one at least
    }
}

fn a_worker_each(limits: Limits) -> Result<Vec<Wire>, rustls::Error> {
    let connector = wire::connector()?;
    let wire = |_| Wire::new(connector.clone(), limits.connect, limits.pool_idle);
    Ok((0..Workers::count()).map(wire).collect())
}

/// The cause at the bottom: "connection refused" says more than "error sending request".
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
