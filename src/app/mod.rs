//! Builds a running gateway from a configuration: the only folder that knows all others.

mod build_state;
pub mod reload;
mod shared_limits;

use std::net::SocketAddr;

use anyhow::Context;
use futures_util::FutureExt;
use tokio::{net::TcpListener, signal::unix::Signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::build_state::{build, rebuild, reload_problems};

use self::reload::Reload;
use crate::{
    config::Problem,
    discovery, ext_proc,
    net::{
        HttpServer, OwnAnswer, ServerSettings, Workers,
        tls::{self, Certificate, Certificates},
    },
    server,
    state::{AppState, StateHandle},
};

/// The HTTP/2 window of one of Envoy's streams, in bytes. Most prompts fit, so they arrive without waiting for a window update.
const BODY_WINDOW: u32 = 1 << 20;

/// Everything about a configuration that is valid and probably not what the operator wants.
pub fn warnings(state: &AppState) -> Vec<Problem> {
    let mut warnings = state.config.warnings();
    warnings.extend(state.config.misspelt_variables());
    warnings.extend(state.certificates.warnings.iter().cloned());
    warnings
}

/// The bound sockets of all servers.
pub struct Listeners {
    /// The HTTP server for clients, `listen`.
    pub http: Listener,
    /// The HTTP server for operators, `ops.listen`.
    pub ops: Option<Listener>,
    /// The gRPC server for Envoy, `ext_proc.listen`.
    pub ext_proc: Option<Listener>,
}

/// A bound socket, with its TLS.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Makes its connections TLS; `None` for plain ones.
    pub tls: Option<TlsAcceptor>,
}

impl Listener {
    fn server<S>(
        self,
        service: S,
        settings: ServerSettings,
        own_answer: OwnAnswer,
    ) -> HttpServer<S> {
        HttpServer {
            listener: self.socket,
            tls: self.tls,
            own_answer,
            service,
            settings,
        }
    }
}

impl Listeners {
    /// Binds every address of the configuration.
    ///
    /// # Errors
    /// The address that cannot be bound.
    pub async fn bind(state_handle: &StateHandle) -> anyhow::Result<Self> {
        let state = state_handle.load();
        let config = &state.config;
        // Every handshake reads the certificate from the current state, so that a renewed one is used at once.
        let acceptor = |certificate: fn(&Certificates) -> &Option<Certificate>, alpn: &[&str]| {
            let state_handle = state_handle.clone();
            certificate(&state.certificates).as_ref()?;
            let current = move || certificate(&state_handle.load().certificates).clone();
            Some(tls::acceptor(current, alpn))
        };
        let ext_proc = match &config.ext_proc {
            None => None,
            Some(ext_proc) => Some(Listener {
                tls: acceptor(|all| &all.ext_proc, &["h2"]),
                socket: bind(ext_proc.listen).await?,
            }),
        };
        let tls = acceptor(|all| &all.server, &["h2", "http/1.1"]);
        let socket = bind(config.listen).await?;
        let ops = match &config.ops {
            None => None,
            Some(ops) => Some(Listener {
                socket: bind(ops.listen).await?,
                tls: None,
            }),
        };
        Ok(Self {
            http: Listener { socket, tls },
            ops,
            ext_proc,
        })
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Serves on `listeners` until `stop` is cancelled, then drains. When it returns, every task that it started has ended. `reload`:
/// reloads the configuration when its files change and on SIGHUP; `None` if there is nothing to reload.
pub async fn run(
    state_handle: StateHandle,
    listeners: Listeners,
    reload: Option<(Reload, Signal)>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let state = state_handle.load();
    let workers = Workers::start().context("cannot start the threads that serve")?;
    let tasks = TaskTracker::new();
    let all_done = CancellationToken::new();
    tasks.spawn(
        all_done
            .clone()
            .run_until_cancelled_owned(discovery::run(state_handle.clone())),
    );
    tasks.spawn(
        all_done
            .clone()
            .run_until_cancelled_owned(shared_limits::keep_connected(state_handle.clone())),
    );
    if let Some((reload, hangup)) = reload {
        tasks.spawn(
            all_done
                .clone()
                .run_until_cancelled_owned(reload.run(hangup)),
        );
    }
    let server_settings = ServerSettings::from_config(&state.config.server);
    let abort = state.client.abort_token();
    let own_answer = server::own_answer(state_handle.clone());
    let http = listeners.http.server(
        server::routes(state_handle.clone()),
        server_settings,
        own_answer.clone(),
    );
    let mut servers = vec![http.serve(&workers, &stop, abort).boxed()];
    if let Some(listener) = listeners.ops {
        let server = listener.server(
            server::ops_routes(state_handle.clone()),
            server_settings,
            own_answer.clone(),
        );
        servers.push(server.serve(&workers, &stop, abort).boxed());
    }
    if let (Some(settings), Some(listener)) = (&state.config.ext_proc, listeners.ext_proc) {
        let (routes, health) = ext_proc::routes(state_handle.clone(), settings);
        tasks.spawn(health.run(stop.clone()));
        let server_settings = ServerSettings {
            max_streams: Some(settings.max_streams),
            stream_window: Some(BODY_WINDOW),
            keep_idle: true, // or the next request would wait for a new connection
            accept_while_draining: false, // Envoy is told to leave, and would reconnect at once
            ..server_settings
        };
        let server = listener.server(routes, server_settings, own_answer);
        servers.push(server.serve(&workers, &stop, abort).boxed());
    }
    tokio::select! {
        _ = futures_util::future::join_all(servers) => {}
        () = drain(&state_handle, &stop) => {}
    }
    drop(workers);
    all_done.cancel();
    tasks.close();
    tasks.wait().await;
    state.metrics.shutdown().await;
    Ok(())
}

/// Waits for the stop, then makes `/ready` fail, and after `server.drain_ms` ends the responses that still run. Never returns: the
/// servers return when they are done.
async fn drain(state_handle: &StateHandle, stop: &CancellationToken) {
    stop.cancelled().await;
    let state = state_handle.load();
    state.stopping.cancel();
    tokio::time::sleep(state.config.server.drain_timeout()).await;
    tracing::warn!("server.drain_ms passed; ending the answers that still run");
    state.client.abort_token().cancel();
    std::future::pending().await
}
