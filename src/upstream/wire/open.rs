//! How a connection comes to stand.

use std::{error::Error as StdError, io, iter::successors, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tower::ServiceExt;

use super::{ClientError, Origin};
use crate::net::{is_exhausted, tls};

/// A peer that lost its power is asked after this silence, as often and as long again, and given up; and so is one that takes
/// nothing of what is sent for twice as long. reqwest's own choice (0.13).
const ALIVE: Duration = Duration::from_secs(15);
const ALIVE_QUESTIONS: u32 = 3;

/// A connection's bytes.
pub(super) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Opens a connection, with TLS where the address says so.
pub type Connector = HttpsConnector<HttpConnector>;

/// What opens connections.
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn connector() -> Result<Connector, rustls::Error> {
    tls::install_crypto_provider();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false); // what has TLS comes through here, too
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(ALIVE));
    tcp.set_keepalive_interval(Some(ALIVE));
    tcp.set_keepalive_retries(Some(ALIVE_QUESTIONS));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(2 * ALIVE));
    Ok(HttpsConnectorBuilder::new()
        .try_with_platform_verifier()?
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(tcp))
}

/// A connection to `origin`, TLS and all, within `limit`.
pub(super) async fn opened(
    connector: Connector,
    origin: &Origin,
    limit: Duration,
) -> Result<Io, ClientError> {
    match timeout(limit, connector.oneshot(origin.uri.clone())).await {
        Ok(Ok(io)) => Ok(io),
        Ok(Err(error)) if has_cause(&*error, is_timeout) => Err(ClientError::ConnectTimeout),
        Ok(Err(error)) if has_cause(&*error, is_exhausted) => Err(ClientError::NoDescriptor),
        Ok(Err(error)) => Err(ClientError::Unreachable(in_words(&*error))),
        Err(_) => Err(ClientError::ConnectTimeout),
    }
}

/// Why there is no connection, in words for the log.
fn in_words(error: &(dyn StdError + 'static)) -> String {
    let causes = || successors(Some(error), |&error| error.source());
    let of_tls = causes().find_map(|error| {
        // An error within an `io::Error` is not among its sources.
        let within = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let within = within.and_then(|error| error.downcast_ref::<rustls::Error>());
        within.or_else(|| error.downcast_ref::<rustls::Error>())
    });
    if let Some(error) = of_tls {
        return format!("TLS: {error}");
    }
    let root = causes().last().unwrap_or(error);
    // hyper-util's connector names the step that failed in this text alone (0.1).
    if causes().any(|error| error.to_string() == "dns error") {
        return format!("name not found: {root}");
    }
    let of_the_system = causes().find_map(|error| error.downcast_ref::<io::Error>());
    match of_the_system.map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(io::ErrorKind::ConnectionReset) => "connection reset".into(),
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            format!("no way to the host: {root}")
        }
        _ => root.to_string(),
    }
}

/// True when one of the causes of an error is an error of the system that is as `is` says.
fn has_cause(error: &(dyn StdError + 'static), is: fn(&io::Error) -> bool) -> bool {
    successors(Some(error), |&error| error.source()).any(|error| {
        let of_the_system = error.downcast_ref::<io::Error>();
        of_the_system.is_some_and(is)
    })
}

/// True when the system gave up on a peer that does not answer.
fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}
