//! Connections of either door: accepted, served, and ended in order.

use std::{
    io,
    net::{self, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{config::Server, workers::Workers};

/// A pause after an accept that failed for want of file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is cut has this long to say so to its client.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A peer that answers no ping for this long is gone (HTTP/2). Without it a stream of a peer that lost its power would stay.
const PING: Duration = Duration::from_secs(20);

/// The headers of a request over HTTP/2, in bytes: about what hyper takes over HTTP/1; its own choice here is 16 KB.
const HEADERS: u32 = 400 << 10;

/// A socket and what is served on it.
pub struct Door {
    /// Where connections come in.
    pub listener: TcpListener,
    /// What answers them.
    pub routes: Router,
    /// With a certificate: TLS on every connection.
    pub tls: Option<TlsAcceptor>,
    /// How connections are treated.
    pub manners: Manners,
}

/// How the connections of a door are treated.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// How long a client may take to send its request headers, the first ones counted from the connection, or to shake hands.
    pub headers: Duration,
    /// True: connections that come during the drain are served, one request each. False: they are refused.
    pub serves_late_comers: bool,
    /// HTTP/2 streams at a time on one connection; `None` leaves the protocol's default.
    pub streams: Option<u32>,
    /// How many body bytes of one HTTP/2 stream may be on their way unread; `None` leaves the protocol's default.
    pub window: Option<u32>,
}

impl Manners {
    /// As the settings of the HTTP door say.
    pub fn of(settings: &Server) -> Self {
        Self {
            headers: Duration::from_millis(settings.headers_ms),
            serves_late_comers: true,
            streams: None,
            window: None,
        }
    }

    /// For connections of one request.
    fn builder_of_one(&self) -> Builder<TokioExecutor> {
        let mut builder = self.builder();
        builder.http1().keep_alive(false);
        builder
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.headers);
        let mut http2 = builder.http2();
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(HEADERS)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        if let Some(streams) = self.streams {
            http2.max_concurrent_streams(streams);
        }
        if let Some(window) = self.window {
            // The connection's window is shared by its streams; sixteen large bodies may be on their way at a time.
            http2
                .initial_stream_window_size(window)
                .initial_connection_window_size(window.saturating_mul(16));
        }
        builder
    }
}

impl Door {
    /// Serves until `stop`; then lets what runs finish, until shortly after `cut`. With nothing in flight it returns at once.
    pub async fn serve(self, workers: &Workers, stop: &CancellationToken, cut: &CancellationToken) {
        let Self {
            listener,
            routes,
            tls,
            manners,
        } = self;
        let mut connections = JoinSet::new();
        let mut spawn = Spawn {
            builder: Arc::new(manners.builder()),
            workers: workers.in_turn(),
            patience: manners.headers,
            stop: stop.clone(),
            routes,
            tls,
        };
        loop {
            tokio::select! {
                accepted = listener.accept() => spawn.accepted(accepted, &mut connections).await,
                Some(_) = connections.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        // Late comers are not told to stop but allowed one request: told at once, they would end before it is read.
        spawn.builder = Arc::new(manners.builder_of_one());
        spawn.stop = CancellationToken::new();
        let late = manners.serves_late_comers.then_some(listener); // closed otherwise, so that nobody waits in its queue
        let drained = async {
            while !connections.is_empty() {
                tokio::select! {
                    // A probe that asks whether we are ready hears that we are not, and a client that comes late is served.
                    accepted = next_of(late.as_ref()) => spawn.accepted(accepted, &mut connections).await,
                    _ = connections.join_next() => {}
                }
            }
        };
        let had_their_time = async {
            cut.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        tokio::select! {
            () = drained => return,
            () = had_their_time => {}
        }
        tracing::warn!(
            connections = connections.len(),
            "ending connections that do not end"
        );
        connections.shutdown().await;
    }
}

/// The next connection, if there is a socket to wait at.
async fn next_of(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Gives connections to workers in turn.
struct Spawn<W> {
    builder: Arc<Builder<TokioExecutor>>,
    workers: W,
    routes: Router,
    tls: Option<TlsAcceptor>,
    patience: Duration,
    stop: CancellationToken,
}

impl<'a, W: Iterator<Item = &'a Handle>> Spawn<W> {
    async fn accepted(
        &mut self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        connections: &mut JoinSet<()>,
    ) {
        let stream = match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                return sleep(ACCEPT_PAUSE).await;
            }
        };
        let connection = Connection {
            routes: self.routes.clone(),
            builder: self.builder.clone(),
            patience: self.patience,
            stop: self.stop.clone(),
        };
        if let Some(worker) = self.workers.next() {
            let opened = connection.open(stream, self.tls.clone());
            connections.spawn_on(opened, worker);
        }
    }
}

/// What a connection needs to be served.
struct Connection {
    routes: Router,
    builder: Arc<Builder<TokioExecutor>>,
    /// How long a handshake may take, and the first request to come.
    patience: Duration,
    stop: CancellationToken,
}

impl Connection {
    /// Shakes hands if need be, and serves.
    async fn open(self, stream: net::TcpStream, tls: Option<TlsAcceptor>) {
        // Registered here, so that this thread hears of its bytes.
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        let _ = stream.set_nodelay(true); // an event leaves when it arrives; on a socket without the option it still leaves
        match tls {
            None => self.serve(stream).await,
            Some(tls) => tokio::select! {
                shaken = timeout(self.patience, tls.accept(stream)) => match shaken {
                    Ok(Ok(stream)) => self.serve(stream).await,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                    Err(_) => tracing::debug!("no TLS handshake in time"),
                },
                () = self.stop.cancelled() => {} // as without TLS: on it nothing was asked yet
            },
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let has_asked = Arc::new(AtomicBool::new(false));
        let asks = has_asked.clone();
        let noted = move |request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            request
        };
        let routes = ServiceExt::<Request<Incoming>>::map_request(self.routes, noted);
        let service = TowerToHyperService::new(routes);
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // HTTP/1 limits the time for headers itself, but only from the bytes on that tell it from HTTP/2.
        let never_asks = async {
            sleep(self.patience).await;
            if has_asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let is_over = async {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = never_asks => {}
            }
        };
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = is_over => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended"); // the client left, or sent what is not HTTP
        }
    }
}
