//! HTTP/2 without a client's comforts: its connection is seen to end, and nobody reads an answer ahead.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request,
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinHandle};

/// A connection without TLS, which takes headers of a megabyte; the task ends with it.
pub async fn connect(to: SocketAddr) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(to).await.unwrap();
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .max_header_list_size(1 << 20)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let ends = async {
        let _ = connection.await; // in whatever way
    };
    (sender, tokio::spawn(ends))
}

/// A chat request with `headers`.
pub fn chat(headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post("http://gate/v1/chat/completions");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    request.body(Full::new(body)).unwrap()
}
