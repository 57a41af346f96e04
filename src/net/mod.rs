//! Listening sockets, the threads that serve them, and TLS.
//!
//! The HTTP server and the Envoy server both listen here. A connection stays on the [`Workers`] thread that it was given to.
//! [`tls`] wraps it, and a write timeout ends it when its client stops reading.

mod descriptors;
mod early_answer;
mod http_server;
mod peer;
mod request_tracker;
mod settings;
pub mod tls;
mod workers;
mod write_timeout;

pub use descriptors::is_exhausted;
pub use early_answer::OwnAnswer;
pub use http_server::HttpServer;
pub use peer::PeerAddress;
pub use request_tracker::HttpService;
pub use settings::ServerSettings;
pub use workers::Workers;
