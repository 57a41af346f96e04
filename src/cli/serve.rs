//! `thinkgate serve`.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::load_config;
use crate::{
    app,
    config::{Config, Flags},
    telemetry,
};

/// Runs the gateway until SIGTERM or SIGINT.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let config = load_config(flags)?;
    anyhow::ensure!(
        !config.models.is_empty() || !config.discover.is_empty(),
        "there is nothing to serve: give --upstream http://HOST:PORT, or models in a --config file (see configs/example.yaml)"
    );
    let _telemetry = telemetry::start(&config.telemetry)?;
    runtime()?.block_on(serve(config, stop_on_signals, |_| {}))
}

/// The runtime of the commands.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Builds, binds and serves. `listening` hears the bound address.
pub(super) async fn serve(
    config: Config,
    stop: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
    listening: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let listen = config.listen;
    let live = Arc::new(app::build(config)?);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    tracing::info!(listen = %address, "listening");
    listening(address);
    let token = CancellationToken::new();
    let served = async {
        app::run(live, listener, token.clone()).await;
        Ok(())
    };
    let stopped = async {
        stop(token.clone()).await?;
        tracing::info!("stopping: no new requests, running answers finish");
        Ok(())
    };
    tokio::try_join!(served, stopped).map(drop)
}

/// Cancels `token` on SIGTERM or SIGINT.
pub(super) async fn stop_on_signals(token: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    token.cancel();
    Ok(())
}
