//! An HTTP/2 connection, which many requests share and a task drives.

use http::{Request, Uri, header};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::{MAX_HEAD_BYTES, Origin, RESET, SendError, idle::IdleConnections, open::Io};
use crate::upstream::wire::{BufferedBody, RequestBody, UpstreamResponse};

/// A share in a connection. It ends when nobody has one and nothing runs on it.
#[derive(Debug, Clone)]
pub(super) struct Shared(http2::SendRequest<RequestBody>);

impl Shared {
    /// Begins to speak over a stream of bytes, and lets whoever comes next share it.
    pub(super) async fn handshake(io: Io, idle: &IdleConnections) -> hyper::Result<Self> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD_BYTES)
            .handshake(io)
            .await?;
        tokio::spawn(driver);
        idle.put_shared(Self(sender.clone()));
        Ok(Self(sender))
    }

    pub(super) fn is_free(&self) -> bool {
        self.0.is_ready()
    }

    pub(super) async fn send(
        mut self,
        mut request: Box<Request<RequestBody>>,
        origin: &Origin,
    ) -> Result<UpstreamResponse, SendError> {
        request.headers_mut().remove(header::HOST); // the URI says it
        let path = request.uri().clone();
        *request.uri_mut() = absolute(&path, origin);
        match self.0.try_send_request(*request).await {
            Ok(response) => Ok(response.map(BufferedBody::from)),
            Err(mut failed) => Err(match failed.take_message() {
                Some(mut request) => {
                    *request.uri_mut() = path;
                    SendError::Unsent(Box::new(request))
                }
                None => SendError::Closed(RESET),
            }),
        }
    }
}

/// HTTP/2 names the server in the URI.
fn absolute(path: &Uri, origin: &Origin) -> Uri {
    let mut parts = origin.uri.clone().into_parts();
    parts.path_and_query = path.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_default() // whole, by the parts it is made of
}
