//! Sockets and threads: accept connections, serve HTTP on them, and end them in order.
//!
//! Both doors listen here. A connection stays on the [`Workers`] thread it was given to; [`tls`] wraps it, and a write timeout
//! ends it when its client stops reading.

mod http_server;
mod in_flight;
mod settings;
pub mod tls;
mod workers;
mod write_timeout;

pub use http_server::HttpServer;
pub use in_flight::HttpService;
pub use settings::ServerSettings;
pub use workers::Workers;
