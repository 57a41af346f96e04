//! The composition root: a configuration becomes a running gateway. Only this file knows every stage.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::{net::TcpListener, sync::Semaphore, time::MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::Keys,
    classifier::{self, Classifier},
    config::{self, Config, locate},
    connections::{Door, Manners},
    ext_proc,
    live::Live,
    routing::{Policy, Router},
    server,
    telemetry::Metrics,
    tls,
    upstream::{Catalog, Client, Listings, look, servers},
    workers::Workers,
};

/// How many bytes of one body Envoy may send ahead: most prompts arrive without a round trip for room.
const BODY_WINDOW: u32 = 1 << 20;

/// What the classifier is built from.
pub fn classifier_options(settings: &config::Classifier) -> classifier::Options {
    classifier::Options {
        model: locate(&settings.model),
        runtime: locate(&settings.runtime),
        providers: settings.providers.clone(),
        threads: settings.threads,
        max_tokens: settings.max_tokens,
        deadline: Duration::from_millis(settings.deadline_ms),
        queue: settings.queue,
        cache: settings.cache,
    }
}

/// Builds everything that a request needs; nothing listens yet.
///
/// # Errors
/// What cannot be built, in one message: the classifier, a key, or the client for model servers.
pub fn build(config: Config) -> anyhow::Result<Live> {
    let metrics = Arc::new(Metrics::new()?);
    let classifier = Classifier::start(&classifier_options(&config.classifier))?;
    check_domains(&config, &classifier)?;
    let routing = &config.routing;
    let policy = Policy {
        threshold: routing.threshold,
        domains: routing.domains.clone(),
        fallback: routing.fallback,
    };
    Ok(Live {
        keys: Keys::new(&config.auth).map_err(anyhow::Error::msg)?,
        router: Router::new(Arc::new(classifier), policy),
        catalog: ArcSwap::from_pointee(Catalog::build(&config, &Listings::new())),
        client: Client::new(&config.upstream, metrics.clone())
            .context("cannot make the client for model servers")?,
        places: Arc::new(Semaphore::new(
            config.server.max_in_flight.min(Semaphore::MAX_PERMITS),
        )),
        stopping: CancellationToken::new(),
        metrics,
        config,
    })
}

/// A domain that the model cannot name would never match, silently.
fn check_domains(config: &Config, classifier: &Classifier) -> anyhow::Result<()> {
    let known = classifier.domains();
    match config
        .routing
        .domains
        .keys()
        .find(|label| !known.iter().any(|known| **known == ***label))
    {
        Some(stray) => anyhow::bail!(
            "routing.domains.{stray}: the classifier has no such domain; it has: {}",
            known.join(", ")
        ),
        None => Ok(()),
    }
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
    fn door(self, routes: axum::Router, manners: Manners) -> Door {
        Door {
            listener: self.socket,
            tls: self.tls,
            routes,
            manners,
        }
    }
}

impl Listeners {
    /// Binds every address of the configuration.
    ///
    /// # Errors
    /// Which address cannot be bound, or which certificate cannot be used.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let certificate = |files: &Option<config::Tls>, protocols: &[&str]| {
            let files = files.as_ref();
            files
                .map(|files| tls::acceptor(files, protocols))
                .transpose()
        };
        let ext_proc = match &config.ext_proc {
            None => None,
            Some(door) => Some(Listener {
                tls: certificate(&door.tls, &["h2"]).context("ext_proc.tls")?,
                socket: bound(door.listen).await?,
            }),
        };
        let tls = certificate(&config.server.tls, &["h2", "http/1.1"]).context("server.tls")?;
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

/// Serves `live` on `listeners` until `stop`, then drains. Every task it starts has ended when it returns.
pub async fn run(
    live: Arc<Live>,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let workers = Workers::start().context("cannot start the threads that serve")?;
    let tasks = TaskTracker::new();
    let over = CancellationToken::new();
    tasks.spawn(
        over.clone()
            .run_until_cancelled_owned(discover(live.clone())),
    );
    let manners = Manners::of(&live.config.server);
    let mut doors = vec![listeners.http.door(server::routes(live.clone()), manners)];
    if let Some(listener) = listeners.ops {
        doors.push(listener.door(server::ops_routes(live.clone()), manners));
    }
    if let (Some(settings), Some(listener)) = (&live.config.ext_proc, listeners.ext_proc) {
        let (routes, health) = ext_proc::routes(live.clone(), settings);
        tasks.spawn(health.report(stop.clone()));
        let manners = Manners {
            streams: Some(settings.max_streams),
            window: Some(BODY_WINDOW),
            serves_late_comers: false, // Envoy is told to go elsewhere, and would come back at once
            ..manners
        };
        doors.push(listener.door(routes, manners));
    }
    let cut = live.client.cut();
    let served = doors
        .into_iter()
        .map(|door| door.serve(&workers, &stop, cut));
    tokio::select! {
        _ = futures_util::future::join_all(served) => {}
        () = end_in_order(&live, &stop) => {}
    }
    drop(workers);
    over.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// From the stop on: not ready any more, and after `server.drain_ms` no answer goes on. Never returns; the doors do.
async fn end_in_order(live: &Live, stop: &CancellationToken) {
    stop.cancelled().await;
    live.stopping.cancel();
    tokio::time::sleep(Duration::from_millis(live.config.server.drain_ms)).await;
    tracing::warn!("server.drain_ms passed; ending the answers that still run");
    live.client.cut().cancel();
    std::future::pending().await
}

/// Looks at the servers' lists of models, again and again, and swaps the catalog when one changed.
async fn discover(live: Arc<Live>) {
    let servers = servers(&live.config);
    let mut listings = Listings::new();
    let mut troubles: BTreeMap<config::BaseUrl, String> = BTreeMap::new();
    let mut rounds = tokio::time::interval(Duration::from_millis(live.config.upstream.discover_ms));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let client = &live.client;
        let looks = servers
            .iter()
            .map(|server| async move { (server, look(client, server).await) });
        let mut changed = false;
        for (server, seen) in futures_util::future::join_all(looks).await {
            match seen {
                Ok(listing) => {
                    let is_back = troubles.remove(&server.url).is_some();
                    if is_back || !listings.contains_key(&server.url) {
                        tracing::info!(server = %server.url, models = listing.data.len(), "listed its models");
                    }
                    // One that was away may have come back with other flags, and obey the switch it refused.
                    changed |= is_back || listings.get(&server.url) != Some(&listing);
                    listings.insert(server.url.clone(), listing);
                }
                Err(trouble) => {
                    if troubles
                        .insert(server.url.clone(), trouble.clone())
                        .as_ref()
                        != Some(&trouble)
                    {
                        tracing::warn!(server = %server.url, trouble, "cannot list its models; asking again");
                    }
                }
            }
        }
        if changed {
            let catalog = live.catalog.load().rebuild(&live.config, &listings);
            warn_of(&catalog, &live.config, &listings);
            live.catalog.store(Arc::new(catalog));
        }
    }
}

/// What an operator should know of the models there are now.
fn warn_of(catalog: &Catalog, config: &Config, listings: &Listings) {
    for model in catalog.models() {
        let url = model
            .endpoints
            .first()
            .map_or("", |endpoint| endpoint.url.as_str());
        match model.family {
            Some(family) => tracing::info!(
                model = &*model.name,
                family = family.id,
                gate = model.gate,
                "model"
            ),
            None if model.gate => tracing::warn!(
                model = &*model.name,
                fix = format!(
                    "models: {{ \"{}\": {{ family: FAMILY, endpoints: [{{ url: \"{url}\" }}] }} }}",
                    model.name
                ),
                "family not recognised; its requests are left alone. Name the family in the configuration"
            ),
            None => {}
        }
    }
    for (name, model) in &config.models {
        for endpoint in &model.endpoints {
            let there = endpoint.model.as_deref().unwrap_or(name);
            let listed = listings
                .get(&endpoint.url)
                .map(|listing| listing.data.iter().any(|entry| entry["id"] == there));
            if listed == Some(false) {
                tracing::warn!(model = name, endpoint = %endpoint.url, "the endpoint does not list `{there}`");
            }
        }
    }
}
