//! Connections to model servers, and requests over them.
//!
//! Whose task drives a connection is decided here. Over HTTP/1.1 it is the request's own (`http1`): what the server sends is read by
//! whoever waits for it, in one turn, where a client with a task for each connection takes six turns from a request to the first
//! byte of its answer, each behind whatever else the thread has to do. Over HTTP/2 (`http2`), which hyper speaks and many share, a
//! connection has a task.
//!
//! This took the place of reqwest for what is forwarded. Of 157 thousand instructions a request its client took 36, 23 of them
//! around hyper's: for redirects that a proxy does not follow it parses every URL twice and copies the headers' storage.

mod http1;
mod http2;
mod idle;
mod open;
mod origin;
mod request_body;
mod response;
mod turns;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use hyper_util::client::legacy::connect::Connection as _;
use parking_lot::Mutex;

use self::{
    idle::IdleConnections,
    open::{Connector, opened},
    turns::Turns,
};
use crate::api::is_media_type;

pub use http1::{AnswerReader, ConnectionBody, Malformed, ResponseHead};
pub use open::connector;
pub use origin::{Origin, path_of};
pub use request_body::RequestBody;
pub use response::{BufferedBody, UpstreamResponse};

/// The longest response head, in bytes: about what hyper (1.12) accepts from a client. Its default for HTTP/2 is 16 KB.
const MAX_HEAD_BYTES: u32 = 400 << 10;

/// How connections end before a response, in words for the log.
const CLOSED: &str = "closed by the server before its answer";
const RESET: &str = "reset by the server before its answer";

/// How often idle connections are checked; those that the server closed or that are too old are dropped.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// The connections of one worker thread, opened when needed and reused.
#[derive(Clone)]
pub struct ConnectionPool(Arc<Inner>);

struct Inner {
    connector: Connector,
    connect: Duration,
    keep: Duration,
    idle_by_origin: Mutex<IdleByOrigin>,
    has_reaper: AtomicBool,
    turns: Turns,
}

/// Idle connections by the server's scheme, name and port.
type IdleByOrigin = HashMap<Arc<str>, Arc<IdleConnections>>;

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// No connection within `upstream.connect_ms`.
    ConnectTimeout,
    /// There is no connection, for this reason in words: refused, the name does not resolve, or TLS.
    Unreachable(String),
    /// The connection closed before the response head was complete.
    Closed {
        /// True if the connection had carried another request, so that the server may have closed it while it was idle.
        on_reused_connection: bool,
        /// How it closed, in words.
        how: &'static str,
    },
    /// The response head cannot be read.
    Malformed,
    /// The process has no file descriptor left for the connection.
    NoDescriptor,
}

/// Why one connection gave no response.
enum SendError {
    /// Nothing of the request was sent; it is returned.
    Unsent(Box<Request<RequestBody>>),
    /// The connection closed, in words how; the server may have read some of the request.
    Closed(&'static str),
    /// A response began that cannot be read.
    Malformed,
}

impl SendError {
    /// The error if the request is not sent again.
    fn into_client_error(self, on_reused_connection: bool) -> ClientError {
        match self {
            Self::Unsent(_) => ClientError::Closed {
                on_reused_connection,
                how: CLOSED,
            },
            Self::Closed(how) => ClientError::Closed {
                on_reused_connection,
                how,
            },
            Self::Malformed => ClientError::Malformed,
        }
    }
}

impl ConnectionPool {
    /// An empty pool. `connect`: the time limit on opening a connection; `keep`: how long one may be idle.
    pub fn new(connector: Connector, connect: Duration, keep: Duration) -> Self {
        Self(Arc::new(Inner {
            connector,
            connect,
            keep,
            idle_by_origin: Mutex::default(),
            has_reaper: AtomicBool::new(false),
            turns: Turns::default(),
        }))
    }

    /// Sends a request, whose URI is a path, and waits for the response head. A request that was not sent at all, because its
    /// connection was closed, goes over another one. `streams`: the client asked for a stream.
    ///
    /// # Errors
    /// Why there is no response. Dropping the response or this future closes an HTTP/1.1 connection and resets an HTTP/2 stream.
    pub async fn send(
        &self,
        origin: &Origin,
        request: Box<Request<RequestBody>>,
        streams: bool,
    ) -> Result<UpstreamResponse, ClientError> {
        // A client that reads a stream waits for its first event, so it is not delayed for batching.
        let among = self.0.turns.enter();
        if !streams {
            among.give_way().await;
        }
        let reply = self.dispatch(origin, request).await?;
        if !is_media_type(reply.headers(), "text/event-stream") {
            among.give_way().await;
        }
        Ok(reply)
    }

    async fn dispatch(
        &self,
        origin: &Origin,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<UpstreamResponse, ClientError> {
        let idle = self.0.idle(origin);
        while let Some(connection) = idle.get(self.0.keep) {
            match connection.send(request, origin, &idle).await {
                Ok(reply) => return Ok(reply),
                Err(SendError::Unsent(unsent)) => {
                    idle.evict_idle(self.0.keep);
                    request = unsent;
                }
                Err(error) => return Err(error.into_client_error(true)),
            }
        }
        // Boxed, because it is rare and large: otherwise every future here would have room for a TLS handshake.
        let connection = Box::pin(self.open(origin, &idle)).await?;
        let asked = connection.send(request, origin, &idle).await;
        asked.map_err(|error| error.into_client_error(false))
    }

    async fn open(
        &self,
        origin: &Origin,
        idle: &IdleConnections,
    ) -> Result<Connection, ClientError> {
        self.spawn_reaper();
        let io = opened(self.0.connector.clone(), origin, self.0.connect).await?;
        if !io.connected().is_negotiated_h2() {
            return Ok(Connection::Own(http1::Connection::over(io)));
        }
        let shared = http2::Shared::handshake(io, idle).await;
        let shared = shared.map_err(|_| ClientError::Closed {
            on_reused_connection: false,
            how: "the HTTP/2 handshake failed",
        })?;
        Ok(Connection::Shared(shared))
    }

    /// Starts a task that evicts idle connections, once; it ends with the pool.
    fn spawn_reaper(&self) {
        if self.0.has_reaper.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REAP_INTERVAL).await;
                match Weak::upgrade(&inner) {
                    Some(inner) => inner.evict_idle(),
                    None => return,
                }
            }
        });
    }
}

impl Inner {
    fn idle(&self, origin: &Origin) -> Arc<IdleConnections> {
        let mut idle_by_origin = self.idle_by_origin.lock();
        match idle_by_origin.get(&origin.key) {
            Some(idle) => idle.clone(),
            None => idle_by_origin
                .entry(origin.key.clone())
                .or_default()
                .clone(),
        }
    }

    fn evict_idle(&self) {
        let all: Vec<_> = self.idle_by_origin.lock().values().cloned().collect();
        for idle in all {
            idle.evict_idle(self.keep);
        }
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionPool")
    }
}

/// A connection that can take a request.
enum Connection {
    Own(Box<http1::Connection>),
    Shared(http2::Shared),
}

impl Connection {
    async fn send(
        self,
        request: Box<Request<RequestBody>>,
        origin: &Origin,
        idle: &Arc<IdleConnections>,
    ) -> Result<UpstreamResponse, SendError> {
        match self {
            Self::Own(connection) => connection.send(request, origin, idle.clone()).await,
            Self::Shared(connection) => connection.send(request, origin).await,
        }
    }
}
