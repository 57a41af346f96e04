//! Sends a request to a model server through reqwest, and says in the gateway's words why there is no answer.
//!
//! Each worker thread has a client of its own, so that a request, its connection and the task that drives it stay on one thread.

mod error;
mod gather;
mod request_body;
mod response;
mod turns;
mod used_connections;

use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use reqwest::{Client, ClientBuilder, Request, Response, redirect, retry};

use self::{turns::Turns, used_connections::UsedConnections};
use crate::{config::Upstream, net::tls};

pub use error::TransportError;
pub use request_body::RequestBody;
pub use response::{BufferedBody, UpstreamResponse};

/// The longest list of response headers over HTTP/2, in bytes: about what hyper (1.12) accepts over HTTP/1.1. Its default is 16 KB.
const MAX_HEADERS_BYTES: u32 = 400 << 10;

/// The connections of one worker thread to all model servers.
#[derive(Debug)]
pub struct Transport {
    client: Client,
    used: UsedConnections,
    turns: Turns,
}

impl Transport {
    /// A transport without connections.
    ///
    /// # Errors
    /// If the system's certificates cannot be read.
    pub fn new(settings: &Upstream) -> Result<Self, reqwest::Error> {
        let client = client_builder(settings).http2_max_header_list_size(MAX_HEADERS_BYTES);
        Ok(Self {
            client: client.build()?,
            used: UsedConnections::default(),
            turns: Turns::default(),
        })
    }

    /// Sends a request and waits for the head of the response. A request of which nothing was sent, because the server had closed
    /// the idle connection, goes over another one. `is_streaming`: the client is known to have asked for a stream.
    ///
    /// Dropping this future or the response closes an HTTP/1.1 connection and resets an HTTP/2 stream.
    ///
    /// # Errors
    /// Why there is no response.
    pub async fn send(
        &self,
        request: Request,
        is_streaming: bool,
    ) -> Result<UpstreamResponse, TransportError> {
        // A client that reads a stream waits for its first event, so it is not delayed for batching.
        let among = self.turns.enter();
        if !is_streaming {
            among.give_way().await;
        }
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return Err(TransportError::new(&error, &self.used)),
        };
        self.used.insert(response.extensions());
        check_head(&mut response)?;
        Ok(http::Response::from(response).map(BufferedBody::from))
    }
}

/// Refuses the heads that hyper accepts and a client could misread, and leaves at most one length in others.
///
/// hyper removes the transfer coding `chunked` alone, and hands over the rest as if it were the body. It also hands over a change
/// of protocol, which nobody asked for.
fn check_head(response: &mut Response) -> Result<(), TransportError> {
    let malformed = |cause: &str| Err(TransportError::Malformed(cause.into()));
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return malformed("another protocol");
    }
    let headers = response.headers_mut();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked) {
        return malformed("a transfer coding other than chunked");
    }
    // A coding overrides a length (RFC 9112, 6.3). hyper has checked that several lengths are the same.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let first = lengths.next().map(HeaderValue::as_bytes);
    if let Some(first) = first
        && (lengths.next().is_some() || first.contains(&b','))
    {
        let length = first.split(|byte| *byte == b',').next();
        if let Ok(length) = HeaderValue::from_bytes(length.unwrap_or_default()) {
            headers.insert(CONTENT_LENGTH, length); // instead of all
        }
    }
    Ok(())
}

/// A client that changes nothing on the way: no proxy from the environment, no redirects, no retries.
pub fn client_builder(settings: &Upstream) -> ClientBuilder {
    tls::install_crypto_provider();
    Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .connect_timeout(settings.connect_timeout())
        .pool_idle_timeout(settings.pool_idle_timeout())
}
