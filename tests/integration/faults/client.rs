//! Faults of clients: slow, silent, many at once, or gone.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    open_files, process_released, resident, room_for, settled, until, wait_until_released,
};
use crate::support::{
    EASY, Gateway, Process, Server, Step, chat,
    http::{PATIENCE, ask, parse, rest},
    http2,
    server::{OK_BODY, chunk, json, sse_head},
    streaming,
};

#[tokio::test]
async fn a_client_that_disconnects_closes_the_request_to_the_server() {
    for steps in [
        vec![Step::Hang],
        vec![sse_head(), chunk("data: 1\n\n"), Step::Hang],
    ] {
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::before(&server).await;
        let stream = ask(gateway.address, &streaming(EASY)).await;
        until("the request arrived", async || !server.arrived().is_empty()).await;
        sleep(Duration::from_millis(100)).await;
        drop(stream);
        until("the server sees the disconnect", async || {
            server.gone() == 1
        })
        .await;
        wait_until_released(&gateway, &server).await;
    }
}

/// A half-closed connection looks like a closed one until something is sent.
#[tokio::test]
async fn a_client_that_half_closes_counts_as_disconnected() {
    let server = Server::start(|_| vec![sse_head(), chunk("data: 1\n\n"), Step::Hang]).await;
    let gateway = Gateway::before(&server).await;
    let mut stream = ask(gateway.address, &streaming(EASY)).await;
    stream.read_exact(&mut [0; 12]).await.unwrap();
    stream.shutdown().await.unwrap();
    until("the server sees the disconnect", async || {
        server.gone() == 1
    })
    .await;
    rest(&mut stream).await; // the connection ends
    wait_until_released(&gateway, &server).await;
}

#[tokio::test]
async fn clients_that_stop_reading_slow_the_server_down_and_take_little_memory() {
    const CLIENTS: usize = 16;
    let piece = chunk(&format!("data: {}\n\n", "x".repeat(60_000)));
    let steps = [vec![sse_head()], vec![piece; 1_000]].concat(); // 60 MB each
    let server = Server::start(move |_| steps.clone()).await;
    let process = Process::start(&["--upstream", &server.url()], &[]).await;
    let before = resident(&process);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = ask(process.address, &streaming(EASY)).await;
        client.read_exact(&mut [0; 1000]).await.unwrap();
        clients.push(client);
    }
    let mut sent = 0;
    until("the server is kept from sending", async || {
        let earlier = std::mem::replace(&mut sent, server.sent());
        sleep(Duration::from_millis(500)).await;
        server.sent() == earlier
    })
    .await;
    let (sent, grown) = (server.sent() >> 20, resident(&process) - before);
    assert!(sent < CLIENTS * 20, "{sent} MiB of 960 were sent");
    assert!(
        grown < CLIENTS * 8,
        "{grown} MiB are kept for clients that do not read"
    );
    drop(clients);
    process_released(&process, &server).await;
}

/// A stream of 60 MB, more than all buffers on the way hold.
fn large_stream() -> Vec<Step> {
    let piece = chunk(&format!("data: {}\n\n", "x".repeat(60_000)));
    [vec![sse_head()], vec![piece; 1_000]].concat()
}

#[tokio::test]
async fn a_client_that_stops_reading_is_disconnected_after_write_idle_ms() {
    let server = Server::start(|_| large_stream()).await;
    let gateway = Gateway::with(&server, "server: { write_idle_ms: 500 }").await;
    let mut stream = ask(gateway.address, &streaming(EASY)).await;
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    wait_until_released(&gateway, &server).await;
    let part = rest(&mut stream).await;
    assert!(part.len() < 60_000_000 && !part.ends_with(b"0\r\n\r\n"));
}

/// Over HTTP/2 a client may give one stream no more window. Only that stream is reset.
#[tokio::test]
async fn a_client_that_stops_reading_one_http2_stream_keeps_the_others() {
    let server = Server::start(|request| match request.text().contains("\"stream\"") {
        true => large_stream(),
        false => json("200 OK", OK_BODY),
    })
    .await;
    let gateway = Gateway::with(&server, "server: { write_idle_ms: 500 }").await;
    let (mut sender, _connection) = http2::connect(gateway.address).await;
    let unread = sender.send_request(http2::chat(&[], &streaming(EASY)));
    let unread = unread.await.unwrap().into_body();
    until("the server sees the disconnect", async || {
        server.gone() == 1
    })
    .await;
    let other = sender.send_request(http2::chat(&[], &chat(EASY)));
    let other = other.await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(other.to_bytes(), OK_BODY);
    assert!(unread.collect().await.is_err(), "it is reset");
    settled(&gateway).await;
}

#[tokio::test]
async fn a_client_that_pauses_for_less_gets_the_whole_response() {
    let last = [crate::support::server::last_chunk()];
    let server = Server::start(move |_| [&*large_stream(), &last].concat()).await;
    let gateway = Gateway::with(&server, "server: { write_idle_ms: 2000 }").await;
    let began = Instant::now();
    let mut stream = ask(gateway.address, &streaming(EASY)).await;
    let mut all = Vec::new();
    let mut some = vec![0; 8 << 20];
    for _ in 0..5 {
        sleep(Duration::from_millis(600)).await;
        stream.read_exact(&mut some).await.unwrap();
        all.extend_from_slice(&some);
    }
    all.extend(rest(&mut stream).await);
    assert!(began.elapsed() > Duration::from_millis(3000));
    let answer = parse(&all);
    assert!(answer.complete && answer.body.len() == 60_008_000);
}

#[tokio::test]
async fn an_idle_connection_is_closed_over_both_versions_of_http() {
    let slow = [Step::Wait(Duration::from_millis(1500))];
    let server = Server::start(move |_| [&slow, &*json("200 OK", OK_BODY)].concat()).await;
    let gateway = Gateway::with(&server, "server: { headers_ms: 500 }").await;
    let body = chat(EASY);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(parse(&rest(&mut stream).await).status, 200);
    let (mut sender, connection) = http2::connect(gateway.address).await;
    for _ in 0..2 {
        let answer = sender.send_request(http2::chat(&[], &body)).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), OK_BODY, "not while a request is active");
    }
    let closed = timeout(PATIENCE, connection).await;
    closed.expect("it is closed").unwrap();
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_is_served_within_the_limits() {
    let server = Server::friendly().await;
    let limits = "server: { headers_ms: 1000, body_idle_ms: 2000 }";
    let gateway = Gateway::with(&server, limits).await;
    let body = r#"{"model":"Qwen3-tiny","messages":[{"role":"user","content":"q"}]}"#;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // Each byte of the body comes within body_idle_ms; all of them take far longer.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    for byte in body.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        sleep(Duration::from_millis(35)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2));
    assert_eq!(parse(&rest(&mut stream).await).status, 200);
    assert!(server.only().text().contains("enable_thinking"));
    // A pause longer than body_idle_ms.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(format!("{head}{{").as_bytes())
        .await
        .unwrap();
    let (status, kind, _) = parse(&rest(&mut stream).await).error();
    assert_eq!((status, kind.as_str()), (408, "invalid_request_error"));
    // Over body_ms in total, without a long pause.
    let strict = Gateway::with(&server, "server: { body_ms: 1000 }").await;
    let mut stream = TcpStream::connect(strict.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let _ = stream.write_all(b" ").await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(parse(&rest(&mut stream).await).status, 408);
    settled(&strict).await;
    // The headers have a total limit.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let began = Instant::now();
    for byte in head.bytes().cycle() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "for ever");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(
        rest(&mut stream).await.is_empty(),
        "closed without a response"
    );
    settled(&gateway).await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_are_closed_and_delay_no_one() {
    let count = room_for(10_000);
    let server = Server::friendly().await;
    let limits = [("THINKGATE_SERVER__HEADERS_MS", "5000")];
    let process = Process::start(&["--upstream", &server.url()], &limits).await;
    let (files, memory) = (open_files(&process), resident(&process));
    let mut left = Vec::new();
    // Nothing, and an incomplete request in each version of HTTP.
    let begun = ["", "PRI * HT", "POST /v1/chat/completions HTTP/1.1\r\nho"];
    for begun in begun.iter().cycle().take(count) {
        let mut stream = TcpStream::connect(process.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        left.push(stream);
    }
    assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    let grown = resident(&process) - memory;
    assert!(grown < 400, "{grown} MiB for {count} connections");
    until("they are closed", async || {
        open_files(&process) < files + 50
    })
    .await;
    for stream in &mut left {
        assert!(rest(stream).await.is_empty());
    }
    assert_eq!(process.chat(&chat(EASY)).await.status, 200);
    println!("{count} connections took {grown} MiB");
    assert_eq!(process.stop().await.0, Some(0));
}
