//! Fuzzes the reader of model servers' responses: the result must not depend on how the bytes are split, and must match hyper's
//! client.
#![no_main]

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use thinkgate::upstream::{AnswerReader, Malformed};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};

/// A complete response.
#[derive(Debug, PartialEq)]
struct CompleteResponse {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

fuzz_target!(|stream: &[u8]| {
    let runtime = Builder::new_current_thread().build().unwrap();
    let at_once = read(&runtime, stream, usize::MAX);
    for length in [1, 2, 3, 7, 64] {
        let in_chunks = read(&runtime, stream, length);
        assert_eq!(in_chunks, at_once, "in chunks of {length}");
    }
    let theirs = runtime.block_on(read_by_hyper(stream));
    let is_coded = [&at_once, &theirs].into_iter().flatten().any(is_coded);
    // hyper skips any number of zeros, and ignores codings that the request did not offer.
    if is_coded || has_zeros(stream) {
        return;
    }
    match (at_once, theirs) {
        (Some(mut ours), Some(mut theirs)) => {
            // We keep one Content-Length, and none beside chunks.
            let length = ours.headers.remove(header::CONTENT_LENGTH);
            let lengths = theirs.headers.remove(header::CONTENT_LENGTH);
            assert!(length.is_none() || lengths.is_some());
            assert_eq!(ours, theirs);
        }
        // The request did not ask for another protocol.
        (None, Some(theirs)) if theirs.status == 101 => {}
        // Readers disagree about trailers with bare line feeds.
        (None, Some(theirs)) if theirs.trailers.is_some() && has_bare_line_feed(stream) => {}
        (None, Some(theirs)) => panic!("only hyper reads {theirs:?}"),
        (Some(ours), None) => panic!("only we read {ours:?}"),
        (None, None) => {}
    }
});

/// True when its body has a transfer coding other than chunked.
fn is_coded(response: &CompleteResponse) -> bool {
    let codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    let codings: Vec<_> = codings
        .map(|coding| coding.as_bytes().to_ascii_lowercase())
        .collect();
    !codings.is_empty() && codings != [b"chunked"]
}

/// True when a chunk size may have more digits than we accept.
fn has_zeros(stream: &[u8]) -> bool {
    stream.windows(12).any(|digits| digits == [b'0'; 12])
}

/// True when a line ends without a carriage return.
fn has_bare_line_feed(stream: &[u8]) -> bool {
    let before = std::iter::once(&0).chain(stream);
    before
        .zip(stream)
        .any(|(before, byte)| *byte == b'\n' && *before != b'\r')
}

/// The result of our reader for a stream that arrives in chunks of this length and then ends.
fn read(runtime: &Runtime, stream: &[u8], length: usize) -> Option<CompleteResponse> {
    runtime.block_on(async {
        let mut reader = AnswerReader::default();
        let mut chunks = stream.chunks(length);
        let head = loop {
            match reader.head(&Method::POST) {
                Ok(Some(head)) => break head,
                Ok(None) => fill(&mut reader, chunks.next()?).await,
                Err(Malformed) => return None,
            }
        };
        let (mut body, mut trailers) = (Vec::new(), None);
        loop {
            match reader.frame().ok()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        assert!(!data.is_empty());
                        body.extend_from_slice(&data);
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
                None if reader.is_over() => break,
                None => match chunks.next() {
                    Some(chunk) => fill(&mut reader, chunk).await,
                    None => {
                        reader.close().ok()?;
                        break;
                    }
                },
            }
        }
        Some(CompleteResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            trailers,
        })
    })
}

async fn fill(reader: &mut AnswerReader, mut chunk: &[u8]) {
    while !chunk.is_empty() {
        let length = poll_fn(|cx| reader.poll_fill(&mut chunk, cx))
            .await
            .unwrap();
        assert!(length > 0);
    }
}

async fn read_by_hyper(stream: &[u8]) -> Option<CompleteResponse> {
    let (client, mut server) = duplex(64 << 10);
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    let server_task = async {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            server.read_buf(&mut request).await.unwrap();
        }
        let _ = server.write_all(stream).await;
        drop(server);
    };
    let client_task = async {
        let request = Request::post("/").body(Empty::<Bytes>::new()).unwrap();
        let (head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        Some(CompleteResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            trailers: body.trailers().cloned(),
            body: body.to_bytes().to_vec(),
        })
    };
    let (_, (), response) = tokio::join!(async { connection.await.ok() }, server_task, client_task);
    response
}
