//! Builds the state of the gateway from a configuration, at the start and on a reload.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Keys, SharedLimits},
    classifier::Classifier,
    config::{Config, Problem, Problems},
    net::tls::Certificates,
    routing::{Policy, Router},
    state::AppState,
    telemetry::Metrics,
    upstream::{Catalog, Client, ServerFacts, ServerKeys},
};

/// Builds everything that a request needs. Nothing listens yet.
///
/// # Errors
/// What cannot be built: certificates, the classifier, a key, or the client for model servers.
pub fn build(config: Config) -> anyhow::Result<AppState> {
    let (certificates, classifier) = load_assets(&config)?;
    let metrics = Arc::new(Metrics::new(config.telemetry.otlp.as_ref())?);
    let cache_stats = classifier.cache_stats().clone();
    metrics.register_score_counter(move || {
        [
            ("model", cache_stats.misses()),
            ("cache", cache_stats.hits()),
        ]
    });
    let server_keys = server_keys(&config)?;
    let shared_limits = shared_limits(&config, None)?;
    Ok(AppState {
        certificates,
        keys: Keys::new(&config.auth, None, shared_limits.as_ref()).map_err(anyhow::Error::msg)?,
        shared_limits,
        router: Router::new(Arc::new(classifier), Policy::new(config.routing.clone())),
        catalog: ArcSwap::from_pointee(Catalog::build(
            &config,
            server_keys.clone(),
            ServerFacts::default(),
        )),
        client: Client::new(&config.upstream, server_keys, metrics.clone())
            .context(CLIENT_FAILED)?,
        was_ready: false,
        concurrency: Arc::default(),
        body_budget: Arc::default(),
        holdings: Arc::default(),
        stopping: CancellationToken::new(),
        metrics,
        config,
    })
}

/// Builds the state for a changed configuration. It keeps the classifier, the connections, the metrics, and the facts about servers
/// that are still configured. A setting that needs a restart has no effect, see [`Config::needs_restart`].
///
/// # Errors
/// What cannot be built.
pub fn rebuild(before: &AppState, config: Config) -> anyhow::Result<AppState> {
    let catalog = before.catalog.load();
    let server_keys = server_keys(&config)?;
    let shared_limits = shared_limits(&config, before.shared_limits.as_ref())?;
    Ok(AppState {
        certificates: Certificates::load(&config)?,
        keys: Keys::new(&config.auth, Some(&before.keys), shared_limits.as_ref())
            .map_err(anyhow::Error::msg)?,
        shared_limits,
        router: Router::new(
            before.router.classifier().clone(),
            Policy::new(config.routing.clone()),
        ),
        catalog: ArcSwap::from_pointee(catalog.with_config(&config, server_keys.clone())),
        client: before
            .client
            .with(&config.upstream, server_keys)
            .context(CLIENT_FAILED)?,
        was_ready: before.was_ready || catalog.pending.is_empty(),
        concurrency: before.concurrency.clone(),
        body_budget: before.body_budget.clone(),
        holdings: before.holdings.clone(),
        stopping: before.stopping.clone(),
        metrics: before.metrics.clone(),
        config,
    })
}

const CLIENT_FAILED: &str = "cannot make the client for model servers";

/// The store of `auth.shared_limits`. `before`: the one in use.
fn shared_limits(
    config: &Config,
    before: Option<&Arc<SharedLimits>>,
) -> anyhow::Result<Option<Arc<SharedLimits>>> {
    SharedLimits::new(&config.auth, before)
        .map_err(|message| anyhow::anyhow!("auth.shared_limits.url: {message}"))
}

/// Reads the keys for model servers. They are read only here, so that one state has the keys of one moment.
fn server_keys(config: &Config) -> anyhow::Result<Arc<ServerKeys>> {
    let keys = ServerKeys::read(config).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(keys))
}

/// Loads the certificates and the classifier.
fn load_assets(config: &Config) -> Result<(Certificates, Classifier), Problems> {
    let certificates = Certificates::load(config);
    let classifier = Classifier::start(&config.classifier);
    let mut problems = Problems::default();
    if let Err(found) = &certificates {
        problems.add(found.0.clone());
    }
    match &classifier {
        Ok(classifier) => problems.add(unknown_domains(config, classifier)),
        Err(error) => problems.add([Problem::new("classifier", error.to_string())]),
    }
    match (certificates, classifier) {
        (Ok(certificates), Ok(classifier)) if problems.0.is_empty() => {
            Ok((certificates, classifier))
        }
        _ => Err(problems),
    }
}

/// The problems that a running gateway has with a configuration: settings that need a restart, nothing to serve, certificates, and
/// domains that the classifier does not know.
pub fn reload_problems(before: &AppState, config: &Config) -> Vec<Problem> {
    let changed = before.config.needs_restart(config).into_iter();
    let message = "takes a restart; it differs from what is served with";
    let mut problems: Vec<Problem> = changed.map(|path| Problem::new(path, message)).collect();
    problems.extend(
        config
            .nothing_to_serve()
            .map(|why| Problem::new("models", why)),
    );
    problems.extend(Certificates::load(config).err().unwrap_or_default().0);
    problems.extend(unknown_domains(config, before.router.classifier()));
    problems
}

/// The domains in `routing.domains` that the classifier does not know. They would never match, and nobody would notice.
fn unknown_domains(config: &Config, classifier: &Classifier) -> Vec<Problem> {
    let known = classifier.domains();
    let is_known = |label: &str| known.iter().any(|known| **known == *label);
    let unknown = config
        .routing
        .domains
        .keys()
        .filter(|label| !is_known(label));
    let message = || {
        let known = known.join(", ");
        format!("the classifier has no such domain; it has: {known}")
    };
    unknown
        .map(|label| Problem::new(format!("routing.domains.{label}"), message()))
        .collect()
}
