//! Background tasks that watch the model servers: the models they list, the switches these obey, and the servers' health.

mod backoff;
mod interval;
mod log;
mod models;

use std::num::NonZeroU32;

use futures_util::future::join_all;

use self::{interval::every, models::ModelPoller};
use crate::{
    state::{AppState, StateHandle},
    upstream::{ModelServer, check_health, model_servers},
};

/// Watches every server of the configuration, and starts anew after each reload. Never returns.
pub async fn run(state_handle: StateHandle) {
    loop {
        let state = state_handle.load();
        let servers = model_servers(&state.config);
        let is_checked = state.config.upstream.health_interval().is_some();
        let checked = servers.iter().filter(|_| is_checked);
        state
            .metrics
            .retain_servers(checked.map(|server| server.url.as_str()));
        let watched = join_all(servers.iter().map(|server| watch(&state, server)));
        let watched = async {
            watched.await;
            std::future::pending::<()>().await; // there may be no servers
        };
        tokio::select! {
            () = watched => {}
            () = state_handle.changed_from(&state) => {}
        }
    }
}

async fn watch(state: &AppState, server: &ModelServer) {
    tokio::join!(
        ModelPoller::new(state, server).run(),
        check_regularly(state, server)
    );
}

/// Checks the server's health every `upstream.health_ms`. Returns at once if health checks are off.
async fn check_regularly(state: &AppState, server: &ModelServer) {
    let settings = &state.config.upstream;
    let (Some(threshold), Some(period)) = (
        NonZeroU32::new(settings.health_results),
        settings.health_interval(),
    ) else {
        return;
    };
    let mut ticks = every(period);
    loop {
        ticks.tick().await;
        let result = check_health(&state.client, server).await;
        let catalog = state.catalog.load();
        let Some(health) = catalog.health(&server.url) else {
            return;
        };
        match (health.observe(result.is_ok(), threshold), result) {
            (Some(false), Err(trouble)) => {
                tracing::warn!(server = %server.url, trouble, "the server is not well; its endpoints are left out");
            }
            (Some(true), _) => {
                tracing::info!(server = %server.url, "the server is well; its endpoints get requests")
            }
            _ => {}
        }
        state
            .metrics
            .set_server_healthy(server.url.as_str(), health.is_healthy());
    }
}
