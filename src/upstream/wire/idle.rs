//! The idle connections to one server.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Connection, http1, http2::Shared};

/// The connections to one server that can take a request.
#[derive(Debug, Default)]
pub(super) struct IdleConnections(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    /// HTTP/1.1 connections, the most recently used last: it is reused first, so that the others grow old and are evicted.
    own: Vec<(Instant, Box<http1::Connection>)>,
    /// The HTTP/2 connection and when a request last used it.
    shared: Option<(Instant, Shared)>,
}

impl IdleConnections {
    /// A connection that is not known to be closed. `keep`: how long it may have been idle.
    pub(super) fn get(&self, keep: Duration) -> Option<Connection> {
        let mut idle = self.0.lock();
        if let Some((taken, shared)) = &mut idle.shared
            && shared.is_free()
        {
            *taken = Instant::now();
            return Some(Connection::Shared(shared.clone()));
        }
        while let Some((since, mut connection)) = idle.own.pop() {
            if since.elapsed() < keep && connection.is_free() {
                return Some(Connection::Own(connection));
            }
        }
        None
    }

    pub(super) fn put(&self, connection: Box<http1::Connection>) {
        self.0.lock().own.push((Instant::now(), connection));
    }

    pub(super) fn put_shared(&self, connection: Shared) {
        self.0.lock().shared = Some((Instant::now(), connection));
    }

    /// Drops connections that their server closed, and those that were idle for `keep`.
    pub(super) fn evict_idle(&self, keep: Duration) {
        let mut idle = self.0.lock();
        idle.own
            .retain_mut(|(since, connection)| since.elapsed() < keep && connection.is_free());
        idle.shared
            .take_if(|(taken, shared)| taken.elapsed() >= keep || !shared.is_free());
    }
}
