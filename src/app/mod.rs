//! The composition root: a configuration becomes a running gateway. Only this file knows every stage.

pub mod reload;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::{net::TcpListener, signal::unix::Signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::reload::Reload;
use crate::{
    auth::Keys,
    classifier::Classifier,
    config::{Config, Problem, Problems},
    discovery, ext_proc,
    net::Workers,
    net::tls::{self, Certificate, Certificates},
    net::{HttpServer, ServerSettings},
    routing::{Policy, Router},
    server,
    state::{AppState, StateHandle},
    telemetry::Metrics,
    upstream::{Catalog, Client, ServerFacts, ServerKeys},
};

/// How many bytes of one body Envoy may send ahead: most prompts arrive without a round trip for room.
const BODY_WINDOW: u32 = 1 << 20;

/// Builds everything that a request needs; nothing listens yet.
///
/// # Errors
/// What cannot be built, in one message: certificates, the classifier, a key, or the client for model servers.
pub fn build(config: Config) -> anyhow::Result<AppState> {
    let metrics = Arc::new(Metrics::new()?);
    let (certificates, classifier) = loaded(&config)?;
    let cache_stats = classifier.cache_stats().clone();
    metrics.register_score_counter(move || {
        [
            ("model", cache_stats.misses()),
            ("cache", cache_stats.hits()),
        ]
    });
    let server_keys = server_keys(&config)?;
    Ok(AppState {
        certificates,
        keys: Keys::new(&config.auth, None).map_err(anyhow::Error::msg)?,
        router: Router::new(Arc::new(classifier), Policy::new(config.routing.clone())),
        catalog: ArcSwap::from_pointee(Catalog::build(
            &config,
            server_keys.clone(),
            ServerFacts::default(),
        )),
        client: Client::new(&config.upstream, server_keys, metrics.clone()).context(NO_CLIENT)?,
        was_ready: false,
        concurrency: Arc::default(),
        stopping: CancellationToken::new(),
        metrics,
        config,
    })
}

/// Builds the same for another configuration, with all that lasts: the classifier, connections, counts, and what is known of
/// servers that are still there. What takes a restart is taken from `before`, see [`Config::needs_restart`].
///
/// # Errors
/// What cannot be built, in one message.
pub fn rebuild(before: &AppState, config: Config) -> anyhow::Result<AppState> {
    let catalog = before.catalog.load();
    let server_keys = server_keys(&config)?;
    Ok(AppState {
        certificates: Certificates::load(&config)?,
        keys: Keys::new(&config.auth, Some(&before.keys)).map_err(anyhow::Error::msg)?,
        router: Router::new(
            before.router.classifier().clone(),
            Policy::new(config.routing.clone()),
        ),
        catalog: ArcSwap::from_pointee(catalog.with_config(&config, server_keys.clone())),
        client: before
            .client
            .with(&config.upstream, server_keys)
            .context(NO_CLIENT)?,
        was_ready: before.was_ready || catalog.pending.is_empty(),
        concurrency: before.concurrency.clone(),
        stopping: before.stopping.clone(),
        metrics: before.metrics.clone(),
        config,
    })
}

const NO_CLIENT: &str = "cannot make the client for model servers";

/// Read here and nowhere else: what is validated, built and served is one configuration, its keys with it.
fn server_keys(config: &Config) -> anyhow::Result<Arc<ServerKeys>> {
    let keys = ServerKeys::read(config).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(keys))
}

/// What the configuration names outside itself.
fn loaded(config: &Config) -> Result<(Certificates, Classifier), Problems> {
    let certificates = Certificates::load(config);
    let classifier = Classifier::start(&config.classifier);
    let mut problems = Problems::default();
    if let Err(found) = &certificates {
        problems.add(found.0.clone());
    }
    match &classifier {
        Ok(classifier) => problems.add(stray_domains(config, classifier)),
        Err(error) => problems.add([Problem::new("classifier", error.to_string())]),
    }
    match (certificates, classifier) {
        (Ok(certificates), Ok(classifier)) if problems.0.is_empty() => {
            Ok((certificates, classifier))
        }
        _ => Err(problems),
    }
}

/// Everything that keeps a running gateway from taking up a configuration, beside what is wrong with its text.
pub fn obstacles(before: &AppState, config: &Config) -> Vec<Problem> {
    let fixed = before.config.needs_restart(config).into_iter();
    let message = "takes a restart; it differs from what is served with";
    let mut found: Vec<Problem> = fixed.map(|path| Problem::new(path, message)).collect();
    found.extend(config.idle().map(|why| Problem::new("models", why)));
    found.extend(Certificates::load(config).err().unwrap_or_default().0);
    found.extend(stray_domains(config, before.router.classifier()));
    found
}

/// A domain that the model cannot name would never match, silently.
fn stray_domains(config: &Config, classifier: &Classifier) -> Vec<Problem> {
    let known = classifier.domains();
    let is_known = |label: &str| known.iter().any(|known| **known == *label);
    let strays = config
        .routing
        .domains
        .keys()
        .filter(|label| !is_known(label));
    let message = || {
        let known = known.join(", ");
        format!("the classifier has no such domain; it has: {known}")
    };
    strays
        .map(|stray| Problem::new(format!("routing.domains.{stray}"), message()))
        .collect()
}

/// The sockets that the doors listen on.
pub struct Listeners {
    /// The HTTP door.
    pub http: Listener,
    /// The door for operators, when they have their own.
    pub ops: Option<Listener>,
    /// The Envoy door, when it is open.
    pub ext_proc: Option<Listener>,
}

/// A socket, and its certificate when it has one.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// What makes its connections TLS.
    pub tls: Option<TlsAcceptor>,
}

impl Listener {
    fn server<A>(self, handler: A, settings: ServerSettings) -> HttpServer<A> {
        HttpServer {
            listener: self.socket,
            tls: self.tls,
            handler,
            settings,
        }
    }
}

impl Listeners {
    /// Binds every address of the configuration.
    ///
    /// # Errors
    /// Which address cannot be bound.
    pub async fn bind(state_handle: &StateHandle) -> anyhow::Result<Self> {
        let state = state_handle.load();
        let config = &state.config;
        // A handshake takes the certificate of its time: one that was renewed is shown to whoever comes next.
        let current = |certificate: fn(&Certificates) -> &Option<Certificate>, alpn: &[&str]| {
            let state_handle = state_handle.clone();
            certificate(&state.certificates).as_ref()?;
            let current = move || certificate(&state_handle.load().certificates).clone();
            Some(tls::acceptor(current, alpn))
        };
        let ext_proc = match &config.ext_proc {
            None => None,
            Some(door) => Some(Listener {
                tls: current(|all| &all.ext_proc, &["h2"]),
                socket: bound(door.listen).await?,
            }),
        };
        let tls = current(|all| &all.server, &["h2", "http/1.1"]);
        let socket = bound(config.listen).await?;
        let ops = match &config.ops {
            None => None,
            Some(ops) => Some(Listener {
                socket: bound(ops.listen).await?,
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

async fn bound(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Serves on `listeners` until `stop`, then drains. Every task it starts has ended when it returns. `reload`: where changes of
/// the configuration come from, if from anywhere, and SIGHUP.
pub async fn run(
    state_handle: StateHandle,
    listeners: Listeners,
    reload: Option<(Reload, Signal)>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let state = state_handle.load();
    let workers = Workers::start().context("cannot start the threads that serve")?;
    let tasks = TaskTracker::new();
    let over = CancellationToken::new();
    tasks.spawn(
        over.clone()
            .run_until_cancelled_owned(discovery::run(state_handle.clone())),
    );
    if let Some((reload, hangup)) = reload {
        tasks.spawn(over.clone().run_until_cancelled_owned(reload.run(hangup)));
    }
    let server_settings = ServerSettings::from_config(&state.config.server);
    let abort = state.client.abort_token();
    let http = listeners
        .http
        .server(server::routes(state_handle.clone()), server_settings);
    let mut served = vec![http.serve(&workers, &stop, abort).boxed()];
    if let Some(listener) = listeners.ops {
        let server = listener.server(server::ops_routes(state_handle.clone()), server_settings);
        served.push(server.serve(&workers, &stop, abort).boxed());
    }
    if let (Some(settings), Some(listener)) = (&state.config.ext_proc, listeners.ext_proc) {
        let (routes, health) = ext_proc::routes(state_handle.clone(), settings);
        tasks.spawn(health.report(stop.clone()));
        let server_settings = ServerSettings {
            max_streams: Some(settings.max_streams),
            stream_window: Some(BODY_WINDOW),
            keep_idle: true, // the next request would wait for a new connection
            accept_while_draining: false, // Envoy is told to go elsewhere, and would come back at once
            ..server_settings
        };
        let server = listener.server(routes, server_settings);
        served.push(server.serve(&workers, &stop, abort).boxed());
    }
    tokio::select! {
        _ = futures_util::future::join_all(served) => {}
        () = end_in_order(&state_handle, &stop) => {}
    }
    drop(workers);
    over.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// From the stop on: not ready any more, and after `server.drain_ms` no answer goes on. Never returns; the doors do.
async fn end_in_order(state_handle: &StateHandle, stop: &CancellationToken) {
    stop.cancelled().await;
    let state = state_handle.load();
    state.stopping.cancel();
    tokio::time::sleep(state.config.server.drain_timeout()).await;
    tracing::warn!("server.drain_ms passed; ending the answers that still run");
    state.client.abort_token().cancel();
    std::future::pending().await
}
