//! What the exporters of traces and of metrics share: the HTTP client, and the resource that names this process.

use std::thread;

use opentelemetry_sdk::Resource;

use crate::net::tls;

/// The name of this program at the collector.
pub fn resource() -> Resource {
    Resource::builder().with_service_name("thinkgate").build()
}

/// Builds an HTTP client for an exporter, which runs on a thread of its own outside the runtime and so needs a blocking client.
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn http_client() -> anyhow::Result<reqwest::blocking::Client> {
    tls::install_crypto_provider();
    // Built on another thread: a blocking client starts a runtime, which a thread of our runtime may not do.
    let built = thread::spawn(|| reqwest::blocking::Client::builder().no_proxy().build());
    Ok(built
        .join()
        .map_err(|_| anyhow::anyhow!("cannot make the client for telemetry.otlp"))??)
}
