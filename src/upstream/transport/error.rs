//! Why there is no response, out of the errors of reqwest, hyper, rustls and the system.

use std::{error::Error as StdError, io, iter::successors};

use hyper_util::client::legacy;

use super::used_connections::UsedConnections;
use crate::net::is_exhausted;

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// No connection within `upstream.connect_ms`.
    ConnectTimeout,
    /// There is no connection, for this reason in words: refused, the name does not resolve, or TLS.
    Unreachable(String),
    /// The process has no file descriptor left for the connection.
    NoDescriptor,
    /// The connection closed before the head of the response was complete.
    Closed {
        /// True if the connection had carried another request, so that the server may have closed it while it was idle.
        on_reused_connection: bool,
        /// How it closed, in words.
        cause: String,
    },
    /// The head of the response cannot be read, for this reason in words.
    Malformed(String),
}

impl TransportError {
    /// The reason of an error. `used`: the connections that have carried a request before.
    pub(super) fn new(error: &reqwest::Error, used: &UsedConnections) -> Self {
        if error.is_connect() {
            return match () {
                () if error.is_timeout() => Self::ConnectTimeout,
                () if find(error, |cause: &io::Error| is_exhausted(cause)).is_some() => {
                    Self::NoDescriptor
                }
                () => Self::Unreachable(connect_cause(error)),
            };
        }
        if let Some(malformed) = find(error, hyper::Error::is_parse) {
            return Self::Malformed(malformed.to_string());
        }
        let client = find(error, |_: &legacy::Error| true);
        let connection = client.and_then(legacy::Error::connect_info);
        Self::Closed {
            on_reused_connection: connection.is_some_and(|connection| used.contains(connection)),
            cause: closed_cause(error),
        }
    }
}

/// Why there is no connection, in words for the log.
fn connect_cause(error: &reqwest::Error) -> String {
    if let Some(cause) = tls_cause(error) {
        return cause;
    }
    let root = causes(error).last().unwrap_or(error);
    if error.is_dns() {
        return format!("name not found: {root}");
    }
    match find(error, |_: &io::Error| true).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "connection refused".into(),
        Some(io::ErrorKind::ConnectionReset) => "connection reset".into(),
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            format!("no way to the host: {root}")
        }
        _ => root.to_string(),
    }
}

/// How a connection closed, in words for the log.
fn closed_cause(error: &reqwest::Error) -> String {
    if let Some(cause) = tls_cause(error) {
        return cause;
    }
    let is_close = |error: &hyper::Error| {
        error.is_incomplete_message() || error.is_canceled() || error.is_closed()
    };
    if find(error, is_close).is_some() {
        return "closed by the server before its answer".into();
    }
    match find(error, |_: &io::Error| true).map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => "the server's machine no longer answers".into(),
        _ => "reset by the server before its answer".into(),
    }
}

/// What TLS says, if the failure is one of TLS.
fn tls_cause(error: &reqwest::Error) -> Option<String> {
    let cause = causes(error).find_map(|cause| {
        // An error within an `io::Error` is not among its sources.
        let within = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let within = within.and_then(|cause| cause.downcast_ref::<rustls::Error>());
        within.or_else(|| cause.downcast_ref::<rustls::Error>())
    })?;
    Some(format!("TLS: {cause}"))
}

/// The first cause of this type for which `is` is true.
fn find<T: StdError + 'static>(error: &reqwest::Error, is: impl Fn(&T) -> bool) -> Option<&T> {
    let mut of_type = causes(error).filter_map(|cause| cause.downcast_ref::<T>());
    of_type.find(|cause| is(cause))
}

/// The error and its sources, the innermost last.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    successors(Some(error), |&error| error.source())
}
