//! Clients that are slow, silent, many, or gone.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::{let_go, open_files, process_let_go, resident, room_for, settled, until};
use crate::support::{
    EASY, Gateway, Process, Server, Step, chat,
    http::{ask, parse, rest},
    server::{chunk, sse_head},
    streaming,
};

#[tokio::test]
async fn a_client_that_leaves_closes_the_request_to_the_server() {
    for steps in [
        vec![Step::Hang],
        vec![sse_head(), chunk("data: 1\n\n"), Step::Hang],
    ] {
        let server = Server::start(move |_| steps.clone()).await;
        let gateway = Gateway::before(&server).await;
        let stream = ask(gateway.address, &streaming(EASY)).await;
        until("it arrived", async || !server.arrived().is_empty()).await;
        sleep(Duration::from_millis(100)).await;
        drop(stream);
        until("the server is told", async || server.gone() == 1).await;
        let_go(&gateway, &server).await;
    }
}

/// A client that left looks just like it until something is sent there.
#[tokio::test]
async fn a_client_that_ends_its_side_counts_as_one_that_left() {
    let server = Server::start(|_| vec![sse_head(), chunk("data: 1\n\n"), Step::Hang]).await;
    let gateway = Gateway::before(&server).await;
    let mut stream = ask(gateway.address, &streaming(EASY)).await;
    stream.read_exact(&mut [0; 12]).await.unwrap();
    stream.shutdown().await.unwrap();
    until("the server is told", async || server.gone() == 1).await;
    rest(&mut stream).await; // the connection ends
    let_go(&gateway, &server).await;
}

#[tokio::test]
async fn clients_that_stop_reading_stop_the_server_and_take_little_memory() {
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
    process_let_go(&process, &server).await;
}

#[tokio::test]
async fn a_client_that_sends_byte_by_byte_is_served_within_its_limits() {
    let server = Server::friendly().await;
    let limits = "server: { headers_ms: 1000, body_idle_ms: 2000 }";
    let gateway = Gateway::with(&server, limits).await;
    let body = r#"{"model":"Qwen3-tiny","messages":[{"role":"user","content":"q"}]}"#;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // The body: each byte within body_idle_ms, all of them far over it.
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
    // A pause over it.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(format!("{head}{{").as_bytes())
        .await
        .unwrap();
    let (status, kind, _) = parse(&rest(&mut stream).await).error();
    assert_eq!((status, kind.as_str()), (408, "invalid_request_error"));
    // Too slow in all, though it never pauses for long.
    let hasty = Gateway::with(&server, "server: { body_ms: 1000 }").await;
    let mut stream = TcpStream::connect(hasty.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        let _ = stream.write_all(b" ").await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(parse(&rest(&mut stream).await).status, 408);
    settled(&hasty).await;
    // The headers have a limit in all.
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let began = Instant::now();
    for byte in head.bytes().cycle() {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "for ever");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(rest(&mut stream).await.is_empty(), "closed without a word");
    settled(&gateway).await;
}

#[tokio::test]
async fn ten_thousand_connections_opened_and_left_are_closed_and_keep_nobody_waiting() {
    let count = room_for(10_000);
    let server = Server::friendly().await;
    let limits = [("THINKGATE_SERVER__HEADERS_MS", "5000")];
    let process = Process::start(&["--upstream", &server.url()], &limits).await;
    let (files, memory) = (open_files(&process), resident(&process));
    let mut left = Vec::new();
    // Nothing at all, a beginning of either version of HTTP, and a body that does not come.
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
