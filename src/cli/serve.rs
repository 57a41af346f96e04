//! `thinkgate serve`.

use std::net::SocketAddr;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    app,
    app::reload::{self, Files, Reload},
    config::{Config, Flags},
    state::StateHandle,
    telemetry,
};

/// Runs the gateway until SIGTERM or SIGINT.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    let (written, seen) = reload::read(flags);
    let config = written.validated()?;
    if let Some(why) = config.idle() {
        anyhow::bail!("{why}");
    }
    let _telemetry = telemetry::start(&config.telemetry)?;
    raise_file_limit();
    block_on(serve(config, Some((flags.clone(), seen)), |_| {}))
}

/// A stream is two open files, and many systems allow a process 1,024 unless it asks for more.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}

/// Runs a command to its end. What still runs then, such as the look-up of a name nobody waits for, does not delay the exit.
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

/// Builds, binds and serves until SIGTERM or SIGINT. `source`: what is read again when it changes, if anything. `listening` hears
/// the bound address.
pub(super) async fn serve(
    config: Config,
    source: Option<(Flags, Files)>,
    listening: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    // Caught before anybody can know the address: a signal that comes right behind it must drain, not kill.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Without a file there is nothing to read again, and a terminal that is closed ends the process.
    let hangup = source.as_ref().map(|_| signal(SignalKind::hangup()));
    let hangup = hangup.transpose()?;
    for warning in config.warnings() {
        tracing::warn!(setting = warning.path, "{}", warning.message);
    }
    let state_handle = StateHandle::new(app::build(config)?);
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
    listening(address);
    let stop = CancellationToken::new();
    let signalled = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: not ready any more; running answers finish");
        stop.cancel();
    };
    let reload = source.zip(hangup).map(|((flags, seen), hangup)| {
        let reload = Reload {
            state_handle: state_handle.clone(),
            flags,
            seen,
        };
        (reload, hangup)
    });
    let served = app::run(state_handle, listeners, reload, stop.clone());
    let (served, ()) = tokio::join!(served, signalled);
    served
}
