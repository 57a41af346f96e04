//! Shares of the gateway: one key, or one address, that takes what it can leaves something for the others.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{Duration, timeout},
};

use super::support::{
    Answer, EASY, Gateway, Server, Step, chat, config,
    envoy::{Buffered, ClientRequest, EnvoyStream, through},
    http::{parse, rest},
    send,
    server::{OK_BODY, json},
    until,
};

/// The hashes of `test` and `some`.
const TEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const SOME: &str = "a6b46dd0d1ae5e86cbc8f37e75ceeb6760230c1ca4ffbcb0c97b96dd7d9c464b";

/// A server that never answers the prompt `hang`, and the others at once.
async fn server() -> Server {
    Server::start(|request| match request.text().contains("hang") {
        true => vec![Step::Hang],
        false => json("200 OK", OK_BODY),
    })
    .await
}

async fn gateway(server: &Server, settings: &str) -> Gateway {
    let yaml = format!(
        "ext_proc: {{ listen: '127.0.0.1:0' }}\nmodels: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}' }}] }} }}\n{settings}",
        server.url()
    );
    Gateway::start(config(&[], &yaml)).await
}

/// Sends a chat request from an address of this machine.
async fn ask(to: SocketAddr, from: &str, headers: &str, body: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from: IpAddr = from.parse().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(to: SocketAddr, from: &str, headers: &str) -> Answer {
    parse(&rest(&mut ask(to, from, headers, &chat(EASY)).await).await)
}

/// Lets requests hang until the next one is refused; how many there are.
async fn flood(gateway: &Gateway, from: &str, headers: &str) -> (usize, Vec<TcpStream>) {
    let mut hanging = Vec::new();
    loop {
        let mut next = ask(gateway.address, from, headers, &chat("hang")).await;
        let count = gateway.state().concurrency.in_use();
        let mut byte = [0];
        let refused = async {
            next.peek(&mut byte).await.unwrap();
        };
        let taken = until("a place is taken", async || {
            gateway.state().concurrency.in_use() > count
        });
        tokio::select! {
            () = refused => {
                let answer = parse(&rest(&mut next).await);
                let overloaded = (429, "rate_limit_error".into(), "overloaded".into());
                assert_eq!(answer.error(), overloaded);
                return (hanging.len(), hanging);
            }
            () = taken => hanging.push(next),
        }
    }
}

#[tokio::test]
async fn a_key_that_floods_leaves_the_last_eighth_of_the_places_to_the_others() {
    let server = server().await;
    let keys = format!(
        "server: {{ max_in_flight: 64 }}\nauth: {{ keys: [{{ name: a, key: 'sha256:{TEST}' }}, {{ name: b, key: 'sha256:{SOME}' }}] }}"
    );
    let gateway = gateway(&server, &keys).await;
    let (count, _hanging) = flood(&gateway, "127.0.0.1", "x-api-key: test\r\n").await;
    assert_eq!(count, 56);
    let answer = answer(gateway.address, "127.0.0.1", "x-api-key: some\r\n").await;
    assert_eq!(answer.status, 200);
    let body = chat(EASY);
    let envoy = gateway.envoy.unwrap();
    let request = |key| ClientRequest::chat(&body).with(&[("x-api-key", key)]);
    through(envoy, Buffered, &request("some")).await.sent();
    let refused = through(envoy, Buffered, &request("test")).await.refused();
    assert_eq!(refused.status, 429);
}

#[tokio::test]
async fn the_only_key_and_the_only_address_may_use_every_place() {
    let server = server().await;
    let key = format!("auth: {{ keys: [{{ name: a, key: 'sha256:{TEST}' }}] }}");
    for (keys, header) in [(&*key, "x-api-key: test\r\n"), ("", "")] {
        let settings = format!("server: {{ max_in_flight: 16 }}\n{keys}");
        let gateway = gateway(&server, &settings).await;
        assert_eq!(flood(&gateway, "127.0.0.1", header).await.0, 16);
    }
}

#[tokio::test]
async fn without_keys_addresses_have_shares_and_trusted_proxies_name_them() {
    let server = server().await;
    let forwarded = |client| format!("x-forwarded-for: 203.0.113.9, {client}\r\n");
    let (flooding, quiet) = (forwarded("192.0.2.1"), forwarded("192.0.2.2"));
    let proxied = "trusted_proxies: [127.0.0.1]";
    for (settings, one, other) in [
        ("", ("127.0.0.1", ""), ("127.0.0.2", "")),
        (proxied, ("127.0.0.1", &*flooding), ("127.0.0.1", &*quiet)),
    ] {
        let settings = format!("server: {{ max_in_flight: 16, {settings} }}");
        let gateway = gateway(&server, &settings).await;
        // Until another one comes, one may take all.
        assert_eq!(answer(gateway.address, other.0, other.1).await.status, 200);
        let (count, _hanging) = flood(&gateway, one.0, one.1).await;
        assert_eq!(count, 12, "{settings}");
        assert_eq!(answer(gateway.address, other.0, other.1).await.status, 200);
    }
}

/// Takes a chat request of a client through Envoy's filter, up to its body. The stream holds a place; `None` where there was none.
async fn through_envoy(
    gateway: &Gateway,
    source: Option<&'static str>,
    forwarded: &str,
) -> Option<EnvoyStream> {
    let body = chat(EASY);
    let mut stream = EnvoyStream::open(gateway.envoy.unwrap(), Some(Buffered)).await;
    stream.source = source;
    stream.send_headers(&ClientRequest::chat(&body).with(&[("x-forwarded-for", forwarded)]));
    assert!(matches!(
        stream.next_reply().await,
        Some(Response::RequestHeaders(_))
    ));
    stream.send_body(body.as_bytes(), true);
    match stream.next_reply().await {
        Some(Response::RequestBody(_)) => Some(stream),
        Some(Response::ImmediateResponse(refused)) => {
            assert_eq!(refused.status.unwrap().code, 429);
            None
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn behind_envoy_clients_have_shares_by_source_address_or_the_last_forwarded_one() {
    let server = server().await;
    for (one, other) in [
        (
            (Some("192.0.2.1:4711"), "9.9.9.9"),
            (Some("192.0.2.2:4711"), "9.9.9.9"),
        ),
        ((None, "9.9.9.9, 192.0.2.1"), (None, "9.9.9.9, 192.0.2.2")),
    ] {
        let gateway = gateway(&server, "server: { max_in_flight: 16 }").await;
        drop(through_envoy(&gateway, other.0, other.1).await.unwrap());
        until("its place is free", async || {
            gateway.state().concurrency.in_use() == 0
        })
        .await;
        let mut held = Vec::new();
        while let Some(stream) = through_envoy(&gateway, one.0, one.1).await {
            held.push(stream);
        }
        assert_eq!(held.len(), 12);
        assert!(through_envoy(&gateway, other.0, other.1).await.is_some());
    }
}

#[tokio::test]
async fn who_is_no_trusted_proxy_cannot_name_other_clients() {
    let server = server().await;
    let gateway = gateway(&server, "server: { max_in_flight: 16 }").await;
    for number in 0..16 {
        let header = format!("x-forwarded-for: 192.0.2.{number}\r\n");
        let mut stream = ask(gateway.address, "127.0.0.1", &header, &chat(EASY)).await;
        assert_eq!(parse(&rest(&mut stream).await).status, 200);
    }
    assert_eq!(
        flood(&gateway, "127.0.0.1", "").await.0,
        16,
        "it is one client"
    );
}

#[tokio::test]
async fn a_key_over_its_own_limit_in_flight_gets_429_that_names_it_at_both_doors() {
    let server = server().await;
    let keys = format!(
        "auth: {{ keys: [{{ name: a, key: 'sha256:{TEST}', max_in_flight: 1 }}, {{ name: b, key: 'sha256:{SOME}' }}] }}"
    );
    let gateway = gateway(&server, &keys).await;
    let test = "x-api-key: test\r\n";
    let first = ask(gateway.address, "127.0.0.1", test, &chat("hang")).await;
    until("it has its place", async || {
        gateway.state().concurrency.in_use() == 1
    })
    .await;
    let second = answer(gateway.address, "127.0.0.1", test).await;
    let limited = (429, "rate_limit_error".into(), "rate_limit_exceeded".into());
    assert_eq!(second.error(), limited);
    assert!(second.text().contains("limit of 1 requests in flight"));
    assert_eq!(second.header("retry-after"), Some("1"));
    let body = chat(EASY);
    let (envoy, ask_as) = (gateway.envoy.unwrap(), |key| {
        ClientRequest::chat(&body).with(&[("x-api-key", key)])
    });
    let refused = through(envoy, Buffered, &ask_as("test")).await.refused();
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("rate_limit_exceeded"));
    through(envoy, Buffered, &ask_as("some")).await.sent();
    drop(first);
    until("its place is free", async || {
        gateway.state().concurrency.in_use() == 0
    })
    .await;
    through(envoy, Buffered, &ask_as("test")).await.sent();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_until_one_ends() {
    let server = server().await;
    let gateway = gateway(&server, "server: { max_connections: 2 }").await;
    let address = gateway.address;
    let held = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let asked = tokio::spawn(async move { send(address, "GET", "/health", &[], "").await.status });
    let mut asked = std::pin::pin!(asked);
    let early = timeout(Duration::from_millis(300), asked.as_mut()).await;
    assert!(early.is_err(), "a third connection is served");
    let [first, _second] = held;
    drop(first);
    assert_eq!(asked.await.unwrap(), 200);
}
