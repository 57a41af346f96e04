//! Accepts connections on one socket, serves HTTP on them, and drains them at shutdown.

use std::{
    cell::RefCell,
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
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
    HttpService, OwnAnswer, PeerAddress, ServerSettings, Workers,
    descriptors::{SpareDescriptor, is_exhausted},
    early_answer::EarlyAnswerStream,
    request_tracker::RequestTracker,
    write_timeout::{StreamExecutor, WriteTimeoutStream},
};

/// Pause after a failed accept, so that the loop does not spin while there are no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Time that aborted answers have to send their client an error.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// A listening socket and the service that answers its requests.
pub struct HttpServer<S> {
    /// The listening socket.
    pub listener: TcpListener,
    /// Answers the requests.
    pub service: S,
    /// Answers what never becomes a request.
    pub own_answer: OwnAnswer,
    /// TLS for every connection, when there is a certificate.
    pub tls: Option<TlsAcceptor>,
    /// Limits and timeouts of the connections.
    pub settings: ServerSettings,
}

impl<S: HttpService> HttpServer<S> {
    /// Serves until `stop`, then waits for running requests until shortly after `abort`. With none it returns at once.
    pub async fn serve(
        self,
        workers: &Workers,
        stop: &CancellationToken,
        abort: &CancellationToken,
    ) {
        let Self {
            listener,
            service,
            own_answer,
            tls,
            settings,
        } = self;
        let mut connections = JoinSet::new();
        let mut acceptor = Acceptor {
            builder: Arc::new(settings.builder()),
            workers: workers.round_robin(),
            settings,
            stop: stop.clone(),
            service,
            own_answer,
            tls,
            spare: SpareDescriptor::keep(),
        };
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < settings.max_connections => {
                    acceptor.spawn(accepted, Some(&listener), &mut connections).await;
                }
                Some(_) = connections.join_next() => {}
                () = stop.cancelled() => break,
            }
        }
        // A connection accepted from now on serves one request. With a cancelled `stop` it would close before it reads any.
        acceptor.builder = Arc::new(settings.builder_without_keep_alive());
        acceptor.stop = CancellationToken::new();
        let listener = settings.accept_while_draining.then_some(listener); // closed otherwise, so that no one waits in its queue
        let drain = async {
            while !connections.is_empty() {
                tokio::select! {
                    // Readiness probes learn that the gateway is not ready, and late clients are served.
                    accepted = accept(listener.as_ref()), if connections.len() < settings.max_connections => {
                        acceptor.spawn(accepted, listener.as_ref(), &mut connections).await;
                    }
                    _ = connections.join_next() => {}
                }
            }
        };
        let aborted = async {
            abort.cancelled().await;
            sleep(ABORT_GRACE).await;
        };
        tokio::select! {
            () = drain => return,
            () = aborted => {}
        }
        tracing::warn!(
            connections = connections.len(),
            "ending connections that do not end"
        );
        connections.shutdown().await;
    }
}

/// Accepts the next connection; waits for ever without a socket.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Spawns a task for each accepted connection, on the workers in turn.
struct Acceptor<W, S> {
    builder: Arc<Builder<StreamExecutor>>,
    workers: W,
    service: S,
    own_answer: OwnAnswer,
    tls: Option<TlsAcceptor>,
    spare: SpareDescriptor,
    settings: ServerSettings,
    stop: CancellationToken,
}

impl<'a, W: Iterator<Item = &'a Handle>, S: HttpService> Acceptor<W, S> {
    async fn spawn(
        &mut self,
        accepted: io::Result<(TcpStream, SocketAddr)>,
        listener: Option<&TcpListener>,
        connections: &mut JoinSet<()>,
    ) {
        let accepted =
            accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, PeerAddress(peer.ip()))));
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_exhausted(&error) => {
                if let Some(listener) = listener {
                    let answer = || (self.own_answer)(StatusCode::SERVICE_UNAVAILABLE);
                    if self.spare.refuse(listener, self.tls.as_ref(), answer).await {
                        return;
                    }
                }
                return sleep(ACCEPT_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                return sleep(ACCEPT_PAUSE).await;
            }
        };
        let connection = ServerConnection {
            service: self.service.clone(),
            own_answer: self.own_answer.clone(),
            builder: self.builder.clone(),
            settings: self.settings,
            stop: self.stop.clone(),
            peer,
        };
        if let Some(worker) = self.workers.next() {
            let task = connection.run(stream, self.tls.clone());
            connections.spawn_on(task, worker);
        }
    }
}

/// Serves one accepted connection.
struct ServerConnection<S> {
    service: S,
    own_answer: OwnAnswer,
    builder: Arc<Builder<StreamExecutor>>,
    settings: ServerSettings,
    stop: CancellationToken,
    peer: PeerAddress,
}

impl<S: HttpService> ServerConnection<S> {
    /// Does the TLS handshake, if there is one, and serves.
    async fn run(self, stream: net::TcpStream, tls: Option<TlsAcceptor>) {
        // Registered on the worker's thread, whose runtime then polls the socket.
        let Ok(stream) = TcpStream::from_std(stream) else {
            return;
        };
        let _ = stream.set_nodelay(true); // streamed events must not wait; a socket without the option works too
        let stream = WriteTimeoutStream::new(self.settings.write_timeout, stream);
        let Some(tls) = tls else {
            return self.serve(stream).await;
        };
        tokio::select! {
            handshake = timeout(self.settings.header_timeout, tls.accept(stream)) => match handshake {
                Ok(Ok(stream)) => self.serve(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
                Err(_) => tracing::debug!("no TLS handshake in time"),
            },
            () = self.stop.cancelled() => {} // no request was sent yet
        }
    }

    async fn serve<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: IO) {
        let Self {
            service,
            own_answer,
            builder,
            settings,
            stop,
            peer,
        } = self;
        let requests = Arc::new(RequestTracker::default());
        let stream = EarlyAnswerStream::new(stream, requests.clone(), own_answer);
        let tracker = requests.clone();
        let service = RefCell::new(service); // hyper calls it through a shared reference, from the connection's task alone
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let response = service.borrow_mut().call(request);
            tracker.clone().track(response)
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // hyper limits the time for HTTP/1 headers, but only from the first bytes, which tell HTTP/1 from HTTP/2.
        let idle = async {
            requests.idle_for(settings.header_timeout).await;
            if settings.keep_idle && requests.any_seen() {
                std::future::pending::<()>().await;
            }
        };
        let close = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = idle => {}
            }
        };
        // Polled only when it is woken, not with every poll of the connection: polling `stop` locks a mutex of all connections.
        let mut close = FuturesUnordered::from_iter([close]);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            _ = close.next() => {
                connection.as_mut().graceful_shutdown();
                // Over HTTP/2 a client that never asks for the rest of an answer would keep the connection open.
                tokio::select! {
                    served = connection => served,
                    () = requests.idle_for(settings.write_timeout) => return,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended"); // the client left, or what it sent is not HTTP
        }
    }
}
