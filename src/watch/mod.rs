//! Keeps what is known of the model servers true: what they list, which switches their models obey, and whether they are well.

mod due;
mod lists;
mod said;

use std::{num::NonZeroU32, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::lists::Lists;
use crate::{
    live::{Live, Serving},
    upstream::{Server, check, servers},
};

/// Watches every server of the configuration, of each one that is taken up later too. Never returns.
pub async fn servers_of(serving: Serving) {
    loop {
        let live = serving.live();
        let servers = servers(&live.config);
        let is_checked = live.config.upstream.health_ms > 0;
        let checked = servers.iter().filter(|_| is_checked);
        live.metrics
            .checked(checked.map(|server| server.url.as_str()));
        let watched = join_all(servers.iter().map(|server| watch(&live, server)));
        let watched = async {
            watched.await;
            std::future::pending::<()>().await; // there are none
        };
        tokio::select! {
            () = watched => {}
            () = serving.replaced(&live) => {}
        }
    }
}

async fn watch(live: &Live, server: &Server) {
    tokio::join!(Lists::of(live, server).watch(), checks(live, server));
}

fn every(milliseconds: u64) -> Interval {
    let mut rounds = interval(Duration::from_millis(milliseconds));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

/// Asks how the server is, again and again.
async fn checks(live: &Live, server: &Server) {
    let settings = &live.config.upstream;
    let (Some(results), 1..) = (NonZeroU32::new(settings.health_results), settings.health_ms)
    else {
        return;
    };
    let mut rounds = every(settings.health_ms);
    loop {
        rounds.tick().await;
        let found = check(&live.client, server).await;
        let catalog = live.catalog.load();
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
        live.metrics.well(server.url.as_str(), health.is_well());
    }
}
