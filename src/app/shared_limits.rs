//! The task that keeps the connection to the store of the shared limits.

use std::sync::Arc;

use crate::state::StateHandle;

/// Keeps the connection to the store that the configuration names, also after a reload. Never returns.
pub async fn keep_connected(state_handle: StateHandle) {
    let mut state = state_handle.load();
    loop {
        let shared = state.shared_limits.clone();
        let run = async {
            match &shared {
                Some(shared) => shared.run(&state.metrics.clone()).await,
                None => {
                    state.metrics.set_shared_limits_up(None);
                    std::future::pending().await
                }
            }
        };
        let changed = async {
            let mut now = state_handle.load();
            while now.shared_limits.as_ref().map(Arc::as_ptr) == shared.as_ref().map(Arc::as_ptr) {
                state_handle.changed_from(&now).await;
                now = state_handle.load();
            }
            now
        };
        state = tokio::select! {
            () = run => state_handle.load(),
            now = changed => now,
        };
    }
}
