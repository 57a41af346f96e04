//! Which connections to model servers have carried an answer: what fails on such a one may have met a server that closed it
//! while it lay unused, what fails on a new one has not.
//!
//! The client says of every answer and of every failure which connection it was on, by its two addresses, but not whether that
//! had been used before. A count of the connections made would say it only as long as nobody else makes one.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use http::Extensions;
use hyper_util::client::legacy::{Error as ClientError, connect::HttpInfo};

/// Connections remembered at most. Closed ones are not heard of, so that all are forgotten then: those that stand count as new
/// until their next answer. The system gives out many more ports before one comes again.
const MOST: usize = 4096;

/// Connections that have carried an answer.
#[derive(Debug, Default)]
pub struct Kept(Mutex<HashSet<Route>>);

/// Our address and the server's.
type Route = (SocketAddr, SocketAddr);

impl Kept {
    /// An answer came; `of_answer`: its extensions.
    pub fn carried(&self, of_answer: &Extensions) {
        if let Some(route) = route(of_answer) {
            self.carried_on(route);
        }
    }

    /// True when a request failed on a connection that had carried an answer.
    pub fn failed(&self, error: &reqwest::Error) -> bool {
        route_of(error).is_some_and(|route| self.routes().remove(&route))
    }

    fn carried_on(&self, route: Route) {
        let mut routes = self.routes();
        if routes.len() >= MOST && !routes.contains(&route) {
            routes.clear();
        }
        routes.insert(route);
    }

    fn routes(&self) -> MutexGuard<'_, HashSet<Route>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn route(extensions: &Extensions) -> Option<Route> {
    let info: &HttpInfo = extensions.get()?;
    Some((info.local_addr(), info.remote_addr()))
}

/// The connection of a failure; `None` when it never got one.
fn route_of(error: &reqwest::Error) -> Option<Route> {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(error) = cause.downcast_ref::<ClientError>() {
            let mut extensions = Extensions::new();
            error.connect_info()?.get_extras(&mut extensions);
            return route(&extensions);
        }
        cause = cause.source()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_connections_there_were_few_are_remembered() {
        let kept = Kept::default();
        let server = SocketAddr::from(([127, 0, 0, 1], 8000));
        for port in 1..20_000 {
            let route = (SocketAddr::from(([127, 0, 0, 1], port)), server);
            kept.carried_on(route);
            assert!(kept.routes().contains(&route));
            assert!(kept.routes().len() <= MOST);
        }
    }
}
