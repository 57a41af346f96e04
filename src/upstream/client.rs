//! The HTTP client towards model servers, tamed into a proxy's: no environment, no redirects, no decompression.

use std::{sync::Arc, time::Duration};

use http::{Method, header::AUTHORIZATION};
use reqwest::RequestBuilder;
use tokio_util::sync::CancellationToken;

use super::{Server, budget::Budget, endpoint::bearer};
use crate::{config::Upstream, telemetry::Metrics, tls, workers::Workers};

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
    /// One a worker, so that a request and its connection stay on one thread.
    http: Vec<reqwest::Client>,
    /// For questions of our own, which are asked on no worker.
    own: reqwest::Client,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    /// Cancelled when running answers have had their time after the stop.
    pub(super) cut: CancellationToken,
}

impl Client {
    /// A client with the limits of the configuration.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(settings: &Upstream, metrics: Arc<Metrics>) -> Result<Self, reqwest::Error> {
        let limits = Limits::of(settings);
        Ok(Self {
            http: connections(limits)?,
            own: connection(limits)?,
            limits,
            metrics,
            budget: Arc::default(),
            cut: CancellationToken::new(),
        })
    }

    /// The same with other limits: requests from here on share the connections that stand, where the limits allow it.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn with(&self, settings: &Upstream) -> Result<Self, reqwest::Error> {
        let limits = Limits::of(settings);
        let of_connections = |limits: &Limits| (limits.connect, limits.pool_idle);
        let mut client = self.clone();
        if of_connections(&limits) != of_connections(&self.limits) {
            (client.http, client.own) = (connections(limits)?, connection(limits)?);
        }
        client.limits = limits;
        Ok(client)
    }

    /// A question of our own to a server, with its key and a limit.
    pub(super) fn ask(&self, method: Method, server: &Server, path: &str) -> RequestBuilder {
        let request = self.own.request(method, server.url.join(path));
        let key = server.api_key.as_ref().and_then(|key| key.reveal().ok());
        match key.as_ref().and_then(bearer) {
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

    /// The client of the thread that asks.
    pub(super) fn http(&self) -> &reqwest::Client {
        let here = Workers::here() % self.http.len();
        &self.http[here] // as many as workers, one at least
    }
}

fn connections(limits: Limits) -> Result<Vec<reqwest::Client>, reqwest::Error> {
    (0..Workers::count()).map(|_| connection(limits)).collect()
}

fn connection(limits: Limits) -> Result<reqwest::Client, reqwest::Error> {
    tls::choose_provider();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never()) // moving on is decided in `forward`, where it is counted
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(limits.connect)
        .pool_idle_timeout(limits.pool_idle)
        .build()
}

/// The cause at the bottom: "connection refused" says more than "error sending request".
pub(super) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
