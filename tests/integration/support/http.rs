//! HTTP/1.1 by hand: the exact bytes of an answer matter here, and clients hide them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than any test should wait for a byte.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came over the socket.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
    /// False when the connection ended before the body's framing did.
    pub complete: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// `x-thinkgate-mode` and `x-thinkgate-why`.
    pub fn decision(&self) -> (&str, &str) {
        (
            self.header("x-thinkgate-mode").unwrap_or("-"),
            self.header("x-thinkgate-why").unwrap_or("-"),
        )
    }

    /// The status and OpenAI's `type` and `code` of an error.
    pub fn error(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        let text = |key: &str| error[key].as_str().unwrap_or("").to_owned();
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{}",
            self.text()
        );
        (self.status, text("type"), text("code"))
    }
}

/// Sends a request and reads the whole answer.
pub async fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    exchange(to, format!("{head}\r\n{body}").as_bytes()).await
}

/// Sends raw bytes and reads the answer to its end, the connection staying open for writing.
pub async fn exchange(to: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all))
        .await
        .expect("an answer in time")
        .ok();
    parse(&all)
}

/// Sends a chat request on a connection of its own, whose answer is still to be read.
pub async fn ask(to: SocketAddr, body: &str) -> TcpStream {
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// What comes until the connection ends, in whatever way.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = timeout(2 * PATIENCE, stream.read_to_end(&mut all)).await;
    read.expect("an end in time").ok();
    all
}

/// Reads an answer out of the bytes of a connection that was closed behind it.
pub fn parse(all: &[u8]) -> Answer {
    let end = find(all, b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(all)));
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
        complete: true,
    };
    let rest = &all[end + 4..];
    if answer.header("transfer-encoding") == Some("chunked") {
        (answer.body, answer.complete) = dechunk(rest);
    } else {
        answer.complete = answer
            .header("content-length")
            .is_none_or(|length| length.parse() == Ok(rest.len()));
        answer.body = rest.to_vec();
    }
    answer
}

/// Removes the chunked coding; false when the last chunk is missing.
fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else {
            return (body, false);
        };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let data = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        if data.len() < size + 2 {
            body.extend_from_slice(&data[..data.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
}

/// Where `what` begins in `bytes`.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
