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
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::Body as _;
use reqwest::{Body, Client, ClientBuilder, Request, redirect, retry};

use self::{turns::Turns, used_connections::UsedConnections};
use crate::{config::Upstream, net::tls, upstream::list_items};

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
        let response = self.client.execute(request).await;
        let response = response.map_err(|error| TransportError::new(&error, &self.used))?;
        self.used.insert(response.extensions());
        let mut response = Response::from(response);
        check_head(&mut response)?;
        Ok(response.map(BufferedBody::from))
    }
}

/// Refuses the heads that hyper accepts and a client could misread, and leaves at most one length in others (RFC 9112, 6.3).
///
/// hyper removes the transfer coding `chunked` once, and hands over any other as if it were the body. It also hands over a change of
/// protocol, which nobody asked for.
fn check_head(response: &mut Response<Body>) -> Result<(), TransportError> {
    let malformed = |cause: &str| Err(TransportError::Malformed(cause.into()));
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return malformed("another protocol");
    }
    let has_body = !response.body().is_end_stream();
    let headers = response.headers_mut();
    let has_length = headers.contains_key(CONTENT_LENGTH);
    let is_coded = match first_two(headers, TRANSFER_ENCODING) {
        (None, _) => false,
        _ if !has_body => true,
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => true,
        // It is no coding (RFC 2616), but hyper reads such a body to the end of the connection, whatever its length.
        (Some(coding), None) if coding.eq_ignore_ascii_case("identity") && !has_length => true,
        _ => return malformed("a transfer coding other than chunked"),
    };
    if is_coded {
        headers.remove(CONTENT_LENGTH); // which the coding overrides
    } else if let (Some(length), Some(_)) = first_two(headers, CONTENT_LENGTH)
        && let Ok(length) = HeaderValue::from_str(length)
    {
        headers.insert(CONTENT_LENGTH, length); // hyper has checked that all are the same
    }
    Ok(())
}

/// The first two items of a list header.
fn first_two(headers: &HeaderMap, name: HeaderName) -> (Option<&str>, Option<&str>) {
    let mut items = list_items(headers, name);
    (items.next(), items.next())
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
