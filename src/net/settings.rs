//! The limits and timeouts of a server's connections.

use std::time::Duration;

use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};

use super::write_timeout::StreamExecutor;
use crate::config::Server;

/// Interval and timeout of HTTP/2 pings. A peer that lost its power answers none, and its streams would stay for ever.
const PING: Duration = Duration::from_secs(20);

/// Limit on the headers of a request over HTTP/2, in bytes: about hyper's limit over HTTP/1. Its default for HTTP/2 is 16 KB.
const MAX_HEADER_LIST: u32 = 400 << 10;

/// The limits and timeouts of a server's connections.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    /// Time limit for the headers of a request, from the connection or the response before; also for the TLS handshake.
    pub header_timeout: Duration,
    /// Time limit for a client that reads nothing while there is something to send.
    pub write_timeout: Duration,
    /// The most open connections. Further ones stay unaccepted in the queue of the socket until one ends.
    pub max_connections: usize,
    /// Keep a connection that has had a request open, however long it is idle.
    pub keep_idle: bool,
    /// Serve one request on each connection that comes during the drain. Otherwise such connections are refused.
    pub accept_while_draining: bool,
    /// Concurrent HTTP/2 streams on one connection; `None` is the protocol's default.
    pub max_streams: Option<u32>,
    /// Body bytes of one HTTP/2 stream that may be sent before they are read; `None` is the protocol's default.
    pub stream_window: Option<u32>,
}

impl ServerSettings {
    /// The settings of the HTTP server.
    pub fn from_config(settings: &Server) -> Self {
        Self {
            header_timeout: settings.headers_timeout(),
            write_timeout: settings.write_idle_timeout(),
            max_connections: settings.max_connections,
            keep_idle: false,
            accept_while_draining: true,
            max_streams: None,
            stream_window: None,
        }
    }

    /// Builds connections that serve one request each.
    pub(super) fn builder_without_keep_alive(&self) -> Builder<StreamExecutor> {
        let mut builder = self.builder();
        builder.http1().keep_alive(false);
        builder
    }

    /// Builds connections that serve any number of requests.
    pub(super) fn builder(&self) -> Builder<StreamExecutor> {
        let mut builder = Builder::new(StreamExecutor::new(self.write_timeout));
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout);
        let mut http2 = builder.http2();
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER_LIST)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        if let Some(streams) = self.max_streams {
            http2.max_concurrent_streams(streams);
        }
        if let Some(window) = self.stream_window {
            // The streams share the connection's window, which has room for sixteen large bodies.
            http2
                .initial_stream_window_size(window)
                .initial_connection_window_size(window.saturating_mul(16));
        }
        builder
    }
}
