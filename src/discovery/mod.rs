//! Keeps what is known of the model servers true: what they list, which switches their models obey, and whether they are well.

mod backoff;
mod log;
mod models;

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::models::Lists;
use crate::{
    state::{AppState, StateHandle},
    upstream::{Server, check, servers},
};

/// Watches every server of the configuration, of each one that is taken up later too. Never returns.
pub async fn servers_of(state_handle: StateHandle) {
    loop {
        let state = state_handle.load();
        let servers = servers(&state.config);
        let is_checked = state.config.upstream.health_ms > 0;
        let checked = servers.iter().filter(|_| is_checked);
        state
            .metrics
            .retain_servers(checked.map(|server| server.url.as_str()));
        let watched = join_all(servers.iter().map(|server| watch(&state, server)));
        let watched = async {
            watched.await;
            std::future::pending::<()>().await; // there are none
        };
        tokio::select! {
            () = watched => {}
            () = state_handle.changed_from(&state) => {}
        }
    }
}

async fn watch(state: &AppState, server: &Server) {
    tokio::join!(Lists::of(state, server).watch(), checks(state, server));
}

fn every(milliseconds: u64) -> Interval {
    let mut rounds = interval(Duration::from_millis(milliseconds));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Asks how the server is, again and again.
async fn checks(state: &AppState, server: &Server) {
    let settings = &state.config.upstream;
    let (Some(results), 1..) = (NonZeroU32::new(settings.health_results), settings.health_ms)
    else {
        return;
    };
    let mut rounds = every(settings.health_ms);
    loop {
        rounds.tick().await;
        let found = check(&state.client, server).await;
        let catalog = state.catalog.load();
        let Some(health) = catalog.health(&server.url) else {
            return;
        };
        match (health.heard(found.is_ok(), results), found) {
            (Some(false), Err(trouble)) => {
                tracing::warn!(server = %server.url, trouble, "the server is not well; its endpoints are left out");
            }
            (Some(true), _) => tracing::info!(server = %server.url, "the server is well again"),
            _ => {}
        }
        state
            .metrics
            .set_server_healthy(server.url.as_str(), health.is_well());
    }
}
