//! Connections: accepted, served, and ended in order.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::config::Server;

/// A pause after an accept that failed for want of file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `routes` on `listener` until `stop`; then accepts nothing new and lets running answers finish for as long as
/// `server.drain_ms` allows. With nothing in flight it returns at once.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    settings: &Server,
    stop: CancellationToken,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.headers_ms))
        .http2()
        .timer(TokioTimer::new());
    let builder = Arc::new(builder);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, routes.clone(), builder.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(Duration::from_millis(settings.drain_ms), drained)
        .await
        .is_err()
    {
        tracing::warn!(
            connections = connections.len(),
            "server.drain_ms passed; ending what still runs"
        );
        connections.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    routes: Router,
    builder: Arc<Builder<TokioExecutor>>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true); // an event leaves when it arrives; on a socket without the option it still leaves
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended"); // the client left, or sent what is not HTTP
    }
}
