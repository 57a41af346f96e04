//! `thinkgate serve`: runs the gateway.

use std::net::SocketAddr;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    app,
    app::reload::{self, FileHashes, Reload},
    config::{Config, Flags},
    state::StateHandle,
    telemetry,
};

/// Runs the gateway until SIGTERM or SIGINT.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let (parsed, files) = reload::read(flags);
    let config = parsed.validated()?;
    if let Some(message) = config.nothing_to_serve() {
        anyhow::bail!("{message}");
    }
    let _telemetry = telemetry::start(&config.telemetry)?;
    raise_file_limit();
    block_on(serve(config, Some((flags.clone(), files)), |_| {}))
}

/// Raises the limit on open files to its maximum. A stream needs two, and many systems allow 1,024 by default.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// Runs a command to its end. Background tasks that still run, such as a DNS lookup, do not delay the exit.
pub(super) fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// Builds, binds and serves until SIGTERM or SIGINT. `source`: the flags and files for reloads; `None` if nothing is reloaded.
/// `on_listening` is called with the bound address.
pub(super) async fn serve(
    config: Config,
    source: Option<(Flags, FileHashes)>,
    on_listening: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    // The handlers are installed before the address is known, so that a signal right after it drains and does not kill.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Without a source there is nothing to reload, and SIGHUP ends the process, as when its terminal closes.
    let hangup = source.as_ref().map(|_| signal(SignalKind::hangup()));
    let hangup = hangup.transpose()?;
    let state = app::build(config)?;
    for warning in app::warnings(&state) {
        tracing::warn!(setting = warning.path, "{}", warning.message);
    }
    let state_handle = StateHandle::new(state);
    let listeners = app::Listeners::bind(&state_handle).await?;
    let address = listeners.http.socket.local_addr()?;
    tracing::info!(listen = %address, tls = listeners.http.tls.is_some(), "listening");
    if let Some(listener) = &listeners.ops {
        tracing::info!(listen = %listener.socket.local_addr()?, "listening for operators");
    }
    if let Some(listener) = &listeners.ext_proc {
        let listen = listener.socket.local_addr()?;
        tracing::info!(%listen, tls = listener.tls.is_some(), "listening for Envoy (ext_proc)");
    }
    on_listening(address);
    let stop = CancellationToken::new();
    let wait_for_signal = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: not ready any more; running answers finish");
        stop.cancel();
    };
    let reload = source.zip(hangup).map(|((flags, files), hangup)| {
        let reload = Reload {
            state_handle: state_handle.clone(),
            flags,
            files,
        };
        (reload, hangup)
    });
    let served = app::run(state_handle, listeners, reload, stop.clone());
    let (served, ()) = tokio::join!(served, wait_for_signal);
    served
}
