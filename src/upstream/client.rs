//! The HTTP client towards model servers, tamed into a proxy's: no environment, no redirects, no decompression.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{config::Upstream, telemetry::Metrics, tls, workers::Workers};

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
    /// `upstream.retries`.
    pub retries: u32,
}

/// Connections to model servers, shared by all requests.
#[derive(Debug, Clone)]
pub struct Client {
    /// One a worker, so that a request and its connection stay on one thread.
    http: Vec<reqwest::Client>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    /// Cancelled when running answers have had their time after the stop.
    pub(super) cut: CancellationToken,
}

impl Client {
    /// A client with the limits of the configuration.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(settings: &Upstream, metrics: Arc<Metrics>) -> Result<Self, reqwest::Error> {
        tls::choose_provider();
        let milliseconds = Duration::from_millis;
        let limits = Limits {
            connect: milliseconds(settings.connect_ms),
            headers: milliseconds(settings.headers_ms),
            first_chunk: milliseconds(settings.first_chunk_ms),
            idle: milliseconds(settings.idle_ms),
            retries: settings.retries,
        };
        let build = || {
            reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never()) // moving on is decided in `forward`, where it is counted
                .referer(false)
                .tcp_nodelay(true)
                .connect_timeout(limits.connect)
                .pool_idle_timeout(milliseconds(settings.pool_idle_ms))
                .build()
        };
        let http = (0..Workers::count())
            .map(|_| build())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            http,
            limits,
            metrics,
            cut: CancellationToken::new(),
        })
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
