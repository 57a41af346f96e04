//! How the connections of a door are treated.

use std::time::Duration;

use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};

use super::write_timeout::StreamExecutor;
use crate::config::Server;

/// A peer that answers no ping for this long is gone (HTTP/2). Without it a stream of a peer that lost its power would stay.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The headers of a request over HTTP/2, in bytes: about what hyper takes over HTTP/1; its own choice here is 16 KB.
const MAX_HEADER_LIST: u32 = 400 << 10;

/// How the connections of a door are treated.
#[derive(Debug, Clone, Copy)]
pub struct ServerSettings {
    /// How long a client may take to send its request headers, counted from the connection or the answer before, or to shake
    /// hands.
    pub header_timeout: Duration,
    /// How long it may take nothing of what is to be sent.
    pub write_timeout: Duration,
    /// True: a connection on which something was asked stays, however long nothing more is.
    pub keep_idle: bool,
    /// True: connections that come during the drain are served, one request each. False: they are refused.
    pub accept_while_draining: bool,
    /// HTTP/2 streams at a time on one connection; `None` leaves the protocol's default.
    pub max_streams: Option<u32>,
    /// How many body bytes of one HTTP/2 stream may be on their way unread; `None` leaves the protocol's default.
    pub stream_window: Option<u32>,
}

impl ServerSettings {
    /// As the settings of the HTTP door say.
    pub fn from_config(settings: &Server) -> Self {
        Self {
            header_timeout: settings.headers_timeout(),
            write_timeout: settings.write_idle_timeout(),
            keep_idle: false,
            accept_while_draining: true,
            max_streams: None,
            stream_window: None,
        }
    }

    /// For connections of one request.
    pub(super) fn builder_without_keep_alive(&self) -> Builder<StreamExecutor> {
        let mut builder = self.builder();
        builder.http1().keep_alive(false);
        builder
    }

    /// For as many as come.
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
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        if let Some(streams) = self.max_streams {
            http2.max_concurrent_streams(streams);
        }
        if let Some(window) = self.stream_window {
            // The connection's window is shared by its streams; sixteen large bodies may be on their way at a time.
            http2
                .initial_stream_window_size(window)
                .initial_connection_window_size(window.saturating_mul(16));
        }
        builder
    }
}
