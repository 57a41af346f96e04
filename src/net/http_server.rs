//! Connections of either door: accepted, served, and ended in order.

use std::{
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::service::service_fn;
use hyper_util::{rt::TokioIo, server::conn::auto::Builder};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    HttpService, ServerSettings, Workers,
    in_flight::RequestTracker,
    write_timeout::{StreamExecutor, WriteTimeoutStream},
};

/// A pause after an accept that failed for want of file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is cut has this long to say so to its client.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// A socket and what is served on it.
pub struct HttpServer<A> {
    /// Where connections come in.
    pub listener: TcpListener,
    /// What answers them.
    pub handler: A,
    /// With a certificate: TLS on every connection.
    pub tls: Option<TlsAcceptor>,
    /// How connections are treated.
    pub settings: ServerSettings,
}

impl<A: HttpService> HttpServer<A> {
    /// Serves until `stop`; then lets what runs finish, until shortly after `abort`. With nothing in flight it returns at once.
    pub async fn serve(
        self,
        workers: &Workers,
        stop: &CancellationToken,
        abort: &CancellationToken,
    ) {
        let Self {
            listener,
            handler,
            tls,
            settings,
        } = self;
        let mut connections = JoinSet::new();
        let mut acceptor = Acceptor {
            builder: Arc::new(settings.builder()),
            workers: workers.round_robin(),
            settings,
            stop: stop.clone(),
            handler,
            tls,
        };
        loop {
            tokio::select! {
                accepted = listener.accept() => acceptor.accepted(accepted, &mut connections).await,
                Some(_) = connections.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        // Late comers are not told to stop but allowed one request: told at once, they would end before it is read.
        acceptor.builder = Arc::new(settings.builder_without_keep_alive());
        acceptor.stop = CancellationToken::new();
        let late = settings.accept_while_draining.then_some(listener); // closed otherwise, so that nobody waits in its queue
        let drained = async {
            while !connections.is_empty() {
                tokio::select! {
                    // A probe that asks whether we are ready hears that we are not, and a client that comes late is served.
                    accepted = next_of(late.as_ref()) => acceptor.accepted(accepted, &mut connections).await,
                    _ = connections.join_next() => {}
                }
            }
        };
        let had_their_time = async {
            abort.cancelled().await;
            sleep(ABORT_GRACE).await;
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
struct Acceptor<W, A> {
    builder: Arc<Builder<StreamExecutor>>,
    workers: W,
    handler: A,
    tls: Option<TlsAcceptor>,
    settings: ServerSettings,
    stop: CancellationToken,
}

impl<'a, W: Iterator<Item = &'a Handle>, A: HttpService> Acceptor<W, A> {
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
            handler: self.handler.clone(),
            builder: self.builder.clone(),
            settings: self.settings,
            stop: self.stop.clone(),
        };
        if let Some(worker) = self.workers.next() {
            let opened = connection.open(stream, self.tls.clone());
            connections.spawn_on(opened, worker);
        }
    }
}

/// What a connection needs to be served.
struct Connection<A> {
    handler: A,
    builder: Arc<Builder<StreamExecutor>>,
    settings: ServerSettings,
    stop: CancellationToken,
}

impl<A: HttpService> Connection<A> {
    /// Shakes hands if need be, and serves.
    async fn open(self, stream: net::TcpStream, tls: Option<TlsAcceptor>) {
        // Registered here, so that this thread hears of its bytes.
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        let _ = stream.set_nodelay(true); // an event leaves when it arrives; on a socket without the option it still leaves
        let stream = WriteTimeoutStream::new(self.settings.write_timeout, stream);
        let Some(tls) = tls else {
            return self.serve(stream).await;
        };
        tokio::select! {
            shaken = timeout(self.settings.header_timeout, tls.accept(stream)) => match shaken {
                Ok(Ok(stream)) => self.serve(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                Err(_) => tracing::debug!("no TLS handshake in time"),
            },
            () = self.stop.cancelled() => {} // as without TLS: on it nothing was asked yet
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let Self {
            handler,
            builder,
            settings,
            stop,
        } = self;
        let requests = Arc::new(RequestTracker::default());
        let answers = requests.clone();
        let service = service_fn(move |request| answers.clone().handle(handler.clone(), request));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // HTTP/1 limits the time for headers itself, but only from the bytes on that tell it from HTTP/2.
        let idles = async {
            requests.idle_for(settings.header_timeout).await;
            if settings.keep_idle && requests.any_seen() {
                std::future::pending::<()>().await;
            }
        };
        let is_over = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = idles => {}
            }
        };
        // Asked when it has something to say, not whenever the connection has: `stop` has one lock for all of them.
        let mut is_over = FuturesUnordered::from_iter([is_over]);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = is_over.next() => {
                connection.as_mut().graceful_shutdown();
                // Over HTTP/2 the last of an answer may wait for a client that never asks for it.
                tokio::select! {
                    served = connection => served,
                    () = requests.idle_for(settings.write_timeout) => return,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended"); // the client left, or sent what is not HTTP
        }
    }
}
