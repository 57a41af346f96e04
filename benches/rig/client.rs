//! One connection to a server on this machine: asks, and reads the answer as it comes.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A chat request as it goes over the wire.
pub fn chat(address: SocketAddr, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A connection that is opened when it is needed and kept while it works.
pub struct Connection {
    address: SocketAddr,
    open: Option<TcpStream>,
    buffer: Vec<u8>,
}

/// An answer that came.
pub struct Answer {
    /// Until the first byte of its body.
    pub first: Duration,
    /// Until its end.
    pub whole: Duration,
    /// Its `x-thinkgate-why`.
    pub why: Option<String>,
}

/// An answer of which the first piece is there.
pub struct Begun {
    stream: TcpStream,
    head: Head,
    asked: Instant,
    first: Duration,
}

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        assert!(address.ip().is_loopback(), "only towards this machine");
        Self {
            address,
            open: None,
            buffer: Vec::with_capacity(64 << 10),
        }
    }

    /// Asks and waits for the whole answer. Anything but a 200 is an error; the next request then gets a new connection.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer, String> {
        let mut begun = self.begin(request).await?;
        while !begun.head.is_complete(&self.buffer) {
            read(&mut begun.stream, &mut self.buffer).await?;
        }
        self.open = Some(begun.stream);
        Ok(Answer {
            first: begun.first,
            whole: begun.asked.elapsed(),
            why: begun.head.why,
        })
    }

    /// Asks and waits for the first piece of the answer's body.
    pub async fn begin(&mut self, request: &[u8]) -> Result<Begun, String> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => connected(self.address).await.map_err(said)?,
        };
        let asked = Instant::now();
        stream.write_all(request).await.map_err(said)?;
        self.buffer.clear();
        let mut head = None;
        loop {
            read(&mut stream, &mut self.buffer).await?;
            if head.is_none() {
                head = Head::read(&self.buffer)?;
            }
            match head {
                Some(head) if self.buffer.len() > head.end || head.length == Some(0) => {
                    let first = asked.elapsed();
                    return Ok(Begun {
                        stream,
                        head,
                        asked,
                        first,
                    });
                }
                waiting => head = waiting,
            }
        }
    }
}

async fn connected(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(buffer).await {
        Ok(0) => Err("the connection ended".into()),
        read => read.map(|_| ()).map_err(said),
    }
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}

/// Where an answer's head ends, how its body's end is known, and what it says of the decision.
struct Head {
    end: usize,
    length: Option<usize>,
    why: Option<String>,
}

impl Head {
    fn read(buffer: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = memmem::find(buffer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(head.lines().next().unwrap_or_default().to_owned());
        }
        let value = |name: &str| {
            head.lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim()))
        };
        Ok(Some(Self {
            end: end + 4,
            length: value("content-length:").and_then(|length| length.parse().ok()),
            why: value("x-thinkgate-why:").map(str::to_owned),
        }))
    }

    fn is_complete(&self, buffer: &[u8]) -> bool {
        match self.length {
            Some(length) => buffer.len() >= self.end + length,
            None => buffer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}
