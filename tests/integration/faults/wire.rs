//! Messages that are ambiguous, not text, too large, or forge our headers.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thinkgate::{
    config::Config,
    net::tls::{self, Certificates},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{settled, wait_until_released};
use crate::{
    support::{
        EASY, Gateway, Process, Server, Step, chat,
        http::{PATIENCE, exchange},
        http2,
        server::{MODELS, OK_BODY},
    },
    tls::certificate,
};

const LINE: &str =
    "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nx-thinkgate-mode: unchanged\r\n";

/// The status of the first answer, and how many answers came before the gateway closed the connection.
async fn status(gateway: &Gateway, request: &str) -> (u16, usize) {
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let _ = stream.write_all(request.as_bytes()).await;
    let mut all = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut all)).await;
    assert!(read.is_ok(), "the connection does not end: {request:.200}");
    let text = String::from_utf8_lossy(&all);
    let status = text.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    (status, text.matches("HTTP/1.1 ").count())
}

/// A request that is smuggled after the visible one.
const HIDDEN: &str = "GET /v1/hidden HTTP/1.1\r\nhost: g\r\n\r\n";

#[tokio::test]
async fn a_request_with_ambiguous_framing_is_400_and_closes_its_connection() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(EASY);
    let length = body.len();
    let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let of_length = |header: &str| format!("{LINE}{header}\r\n\r\n{body}{HIDDEN}");
    let chunked = |header: &str| format!("{LINE}{header}\r\n\r\n{chunks}{HIDDEN}");
    let in_chunks =
        |chunks: &str| format!("{LINE}transfer-encoding: chunked\r\n\r\n{chunks}{HIDDEN}");
    let refused = [
        of_length(&format!("content-length: {length}\r\ncontent-length: 4")),
        of_length(&format!("content-length: {length}, 4")),
        of_length(&format!("content-length: +{length}")),
        of_length(&format!("content-length: 0x{length:x}")),
        of_length("content-length: -1"),
        of_length("content-length: 99999999999999999999"),
        of_length(&format!("x: a\r\n b\r\ncontent-length: {length}")), // obs-fold
        of_length(&format!("x: a\rb\r\ncontent-length: {length}")),
        of_length(&format!("x: a\0b\r\ncontent-length: {length}")),
        of_length(&format!("x y: a\r\ncontent-length: {length}")),
        of_length(&format!("host: other\r\ncontent-length: {length}")),
        chunked("transfer-encoding: chunked, identity"),
        chunked("transfer-encoding: chunked, chunked"),
        chunked("transfer-encoding: gzip, chunked"),
        chunked("transfer-encoding: identity\r\ntransfer-encoding: chunked"),
        chunked("transfer-encoding: xchunked"),
        chunked("transfer-encoding : chunked"),
        chunked("transfer-encoding: \x0bchunked"),
        chunked("transfer-encoding:\r\n chunked"),
        chunked("transfer-encoding: chunked").replace("HTTP/1.1\r\nhost", "HTTP/1.0\r\nhost"),
        in_chunks(&format!("{length:x};a\nb\r\n{body}\r\n0\r\n\r\n")),
        in_chunks(&format!(
            "{length:x};{}\r\n{body}\r\n0\r\n\r\n",
            "a".repeat(100_000)
        )),
        in_chunks(&format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")),
        in_chunks(&format!("-1\r\n{body}\r\n0\r\n\r\n")),
        in_chunks(&format!("1{length:016x}\r\n{body}\r\n0\r\n\r\n")),
        in_chunks(&format!("{length:x}\n{body}\n0\n\n")),
        in_chunks(&format!("{length:x}\r\n{body}XX0\r\n\r\n")),
        in_chunks(&format!("\r\n{body}\r\n0\r\n\r\n")),
    ];
    for request in refused {
        assert_eq!(status(&gateway, &request).await, (400, 1), "{request:.300}");
    }
    assert!(server.arrived().is_empty(), "none of it reached a server");
    settled(&gateway).await;
}

/// The server gets unusual but unambiguous framing as a length without a transfer coding.
#[tokio::test]
async fn unusual_framing_is_forwarded_as_a_content_length() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let body = chat(EASY);
    let length = body.len();
    let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let close = format!("{LINE}connection: close\r\n");
    for request in [
        // A coding overrides a length, which is dropped (RFC 9112, 6.3).
        format!("{close}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{chunks}"),
        format!("{close}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"),
        format!("{close}content-length: {length}\r\ncontent-length: {length}\r\n\r\n{body}"),
        format!("{close}transfer-encoding:\tChunked\r\n\r\n{chunks}"),
        format!("{close}transfer-encoding: chunked\r\n\r\n{length:x};a=b\r\n{body}\r\n0\r\n\r\n"),
        // A line feed alone may end a line (RFC 9112, 2.2).
        format!(
            "{}content-length: {length}\n\n{body}",
            close.replace("\r\n", "\n")
        ),
    ] {
        let before = server.arrived().len();
        assert_eq!(
            exchange(gateway.address, request.as_bytes()).await.status,
            200
        );
        let arrived = server.arrived();
        assert_eq!(arrived.len(), before + 1);
        let last = arrived.last().unwrap();
        assert_eq!(last.text(), body);
        assert_eq!(last.header("transfer-encoding"), None);
        assert_eq!(last.head.matches("content-length").count(), 1);
        assert_eq!(last.header("content-length"), Some(&*length.to_string()));
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_a_400_that_says_so() {
    let server = Server::friendly().await;
    let gateway = Gateway::before(&server).await;
    let mut body = chat("caf_").into_bytes();
    let at = body.iter().position(|byte| *byte == b'_').unwrap();
    body[at] = 0xe9; // Latin-1's
    let head = format!(
        "{}connection: close\r\ncontent-length: {}\r\n\r\n",
        LINE,
        body.len()
    );
    let answer = exchange(gateway.address, &[head.as_bytes(), &body].concat()).await;
    assert_eq!(
        answer.error(),
        (400, "invalid_request_error".into(), String::new())
    );
    assert!(answer.text().contains("not UTF-8"), "{}", answer.text());
    assert!(server.arrived().is_empty());
    settled(&gateway).await;
}

#[tokio::test]
async fn headers_of_100_kilobytes_pass_both_ways_and_larger_ones_are_431() {
    let long = "y".repeat(100_000);
    let response = format!(
        "HTTP/1.1 200 OK\r\nx-long: {long}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{OK_BODY}",
        OK_BODY.len()
    );
    let server = Server::start(move |_| vec![Step::Send(response.clone().into())]).await;
    let gateway = Gateway::before(&server).await;
    let path = "/v1/chat/completions";
    let answer = gateway
        .post_with(path, &[("x-long", &long)], &chat(EASY))
        .await;
    assert_eq!((answer.status, answer.text()), (200, OK_BODY));
    assert_eq!(answer.header("x-long"), Some(&*long));
    assert_eq!(server.only().header("x-long"), Some(&*long));
    let body = chat(EASY);
    let longer = format!(
        "{LINE}x-long: {}\r\ncontent-length: {}\r\n\r\n{body}",
        "y".repeat(1_000_000),
        body.len()
    );
    assert_eq!(status(&gateway, &longer).await, (431, 1));
    let many = format!("{LINE}{}\r\n", "x: y\r\n".repeat(101));
    assert_eq!(status(&gateway, &many).await, (431, 1));
    assert_eq!(server.arrived().len(), 1);
    settled(&gateway).await;
}

/// A model server over HTTP/2 and TLS that returns the request's `x-long` header.
async fn echoing_over_http2(cert: &str, key: &str) -> (SocketAddr, AbortOnDropHandle<()>) {
    let yaml = format!("server: {{ tls: {{ cert: '{cert}', key: '{key}' }} }}");
    let certificate = Certificates::load(&Config::from_yaml(&yaml).unwrap()).unwrap();
    let acceptor = tls::acceptor(move || certificate.server.clone(), &["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = service_fn(async |request: Request<Incoming>| {
        let body = match request.uri().path() {
            "/v1/models" => MODELS,
            _ => OK_BODY,
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        if let Some(long) = request.headers().get("x-long") {
            response.headers_mut().insert("x-long", long.clone());
        }
        Ok::<_, Infallible>(response)
    });
    let serves = async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder.max_header_list_size(1 << 20);
                let _ = builder.serve_connection(stream, answers).await;
            });
        }
    };
    (address, AbortOnDropHandle::new(tokio::spawn(serves)))
}

#[tokio::test]
async fn headers_of_100_kilobytes_pass_both_ways_over_http2_too() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(folder.path());
    let (server, _serves) = echoing_over_http2(&cert, &key).await;
    let upstream = format!("https://localhost:{}", server.port());
    let trusts = [("SSL_CERT_FILE", &*cert)];
    let process = Process::start(&["--upstream", &upstream], &trusts).await;
    let long = "y".repeat(100_000);
    let (mut sender, _connection) = http2::connect(process.address).await;
    let asked = sender.send_request(http2::chat(&[("x-long", &long)], &chat(EASY)));
    let answer = asked.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-long"], long);
    let longer = "y".repeat(450_000);
    let asked = sender.send_request(http2::chat(&[("x-long", &longer)], &chat(EASY)));
    assert_eq!(asked.await.unwrap().status(), 431);
}

#[tokio::test]
async fn a_server_whose_headers_are_too_large_is_502() {
    let response = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1_000_000));
    let server =
        Server::start(move |_| vec![Step::Send(response.clone().into()), Step::Hang]).await;
    let gateway = Gateway::before(&server).await;
    let (status, _, code) = gateway.chat(&chat(EASY)).await.error();
    assert_eq!((status, code.as_str()), (502, "upstream_reset"));
    wait_until_released(&gateway, &server).await;
}

#[tokio::test]
async fn forged_headers_of_ours_are_removed() {
    let forged = format!(
        "HTTP/1.1 200 OK\r\nx-thinkgate-mode: forged\r\nX-Thinkgate-Secret: forged\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{OK_BODY}",
        OK_BODY.len()
    );
    let server = Server::start(move |_| vec![Step::Send(forged.clone().into())]).await;
    let gateway = Gateway::before(&server).await;
    let client_headers = [
        ("x-thinkgate-mode", "direct"),
        ("x-thinkgate-secret", "forged"),
    ];
    for (path, modes) in [("/v1/chat/completions", 1), ("/v1/completions", 0)] {
        let answer = gateway.post_with(path, &client_headers, &chat(EASY)).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.head.contains("forged"), "{}", answer.head);
        assert_eq!(answer.head.matches("x-thinkgate-mode:").count(), modes);
    }
    for arrived in server.arrived() {
        assert!(
            !arrived.head.to_lowercase().contains("x-thinkgate"),
            "{}",
            arrived.head
        );
    }
}

#[tokio::test]
async fn forged_trailers_of_ours_are_removed() {
    let response = format!(
        "HTTP/1.1 200 OK\r\ntrailer: x-thinkgate-mode, x-sum\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{OK_BODY}\r\n0\r\n\
         X-Thinkgate-Mode: forged\r\nx-thinkgate-secret: forged\r\nkeep-alive: 5\r\nx-sum: 7\r\n\r\n",
        OK_BODY.len()
    );
    let server = Server::start(move |_| vec![Step::Send(response.clone().into())]).await;
    let gateway = Gateway::before(&server).await;
    let (mut sender, _connection) = http2::connect(gateway.address).await;
    let asked = sender.send_request(http2::chat(&[("te", "trailers")], &chat(EASY)));
    let answer = asked.await.unwrap().into_body().collect().await.unwrap();
    let trailers = answer.trailers().unwrap();
    let names: Vec<&str> = trailers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-sum"], "the server's own trailers are relayed");
    assert_eq!(answer.to_bytes(), OK_BODY);
}
