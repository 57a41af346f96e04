//! Where the connections to one server lie while they are not used.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Connection, http1, http2::Shared};

/// The connections to one server that can take a request.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The one used last is at the end, and is the first to be used again: the others come of age.
    own: Vec<(Instant, Box<http1::Connection>)>,
    /// The one that is shared, and when a request took a share.
    shared: Option<(Instant, Shared)>,
}

impl Shelf {
    /// One that is not known to be closed. `keep`: how long one may have lain here.
    pub(super) fn take(&self, keep: Duration) -> Option<Connection> {
        let mut kept = self.0.lock();
        if let Some((taken, shared)) = &mut kept.shared
            && shared.is_free()
        {
            *taken = Instant::now();
            return Some(Connection::Shared(shared.clone()));
        }
        while let Some((since, mut connection)) = kept.own.pop() {
            if since.elapsed() < keep && connection.is_free() {
                return Some(Connection::Own(connection));
            }
        }
        None
    }

    pub(super) fn put(&self, connection: Box<http1::Connection>) {
        self.0.lock().own.push((Instant::now(), connection));
    }

    pub(super) fn share(&self, connection: Shared) {
        self.0.lock().shared = Some((Instant::now(), connection));
    }

    /// Lets go of those that their server has closed, and that were not used for as long as `keep`.
    pub(super) fn look(&self, keep: Duration) {
        let mut kept = self.0.lock();
        kept.own
            .retain_mut(|(since, connection)| since.elapsed() < keep && connection.is_free());
        kept.shared
            .take_if(|(taken, shared)| taken.elapsed() >= keep || !shared.is_free());
    }
}
