//! Which connections have carried a request before.
//!
//! The client does not say whether it reused a connection. Its address at our end does, because a connection keeps it for life.

use std::net::SocketAddr;

use http::Extensions;
use hyper_util::client::legacy::connect::{Connected, HttpInfo};
use quick_cache::sync::Cache;

/// The most connections that are remembered; those that were not used for longest are forgotten first.
const MAX_CONNECTIONS: usize = 4096;

/// The addresses at our end of connections that have carried a request.
///
/// A later connection may get the same address. It is then taken for a reused one, and a request that it loses at once is sent
/// once more.
#[derive(Debug)]
pub struct UsedConnections(Cache<SocketAddr, ()>);

impl Default for UsedConnections {
    fn default() -> Self {
        Self(Cache::new(MAX_CONNECTIONS))
    }
}

impl UsedConnections {
    /// Remembers the connection that a response came over. `extensions`: those of the response.
    pub fn insert(&self, extensions: &Extensions) {
        if let Some(address) = local_address(extensions)
            && self.0.get(&address).is_none()
        {
            self.0.insert(address, ());
        }
    }

    /// True if the connection has carried a request before.
    pub fn contains(&self, connection: &Connected) -> bool {
        let mut extensions = Extensions::new();
        connection.get_extras(&mut extensions);
        local_address(&extensions).is_some_and(|address| self.0.get(&address).is_some())
    }
}

fn local_address(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<HttpInfo>().map(HttpInfo::local_addr)
}
