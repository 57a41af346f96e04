//! One connection to a server on this machine: sends requests, and reads the answers as they arrive.

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

/// A complete answer, with its times.
pub struct Answer {
    /// Until the first byte of its body.
    pub first: Duration,
    /// Until its end.
    pub whole: Duration,
    /// Its `x-thinkgate-why`.
    pub why: Option<String>,
}

/// An answer whose body has begun to arrive.
pub struct StartedAnswer {
    stream: TcpStream,
    head: AnswerHead,
    sent: Instant,
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

    /// Sends a request and waits for the whole answer. Any status but 200 is an error; the next request then opens a new connection.
    pub async fn send(&mut self, request: &[u8]) -> Result<Answer, String> {
        let mut started = self.start(request).await?;
        while !started.head.is_complete(&self.buffer) {
            read(&mut started.stream, &mut self.buffer).await?;
        }
        self.open = Some(started.stream);
        Ok(Answer {
            first: started.first,
            whole: started.sent.elapsed(),
            why: started.head.why,
        })
    }

    /// Sends a request and waits for the first piece of the answer's body.
    pub async fn start(&mut self, request: &[u8]) -> Result<StartedAnswer, String> {
        let mut stream = match self.open.take() {
            Some(stream) => stream,
            None => connected(self.address).await.map_err(error_text)?,
        };
        let sent = Instant::now();
        stream.write_all(request).await.map_err(error_text)?;
        self.buffer.clear();
        let mut head = None;
        loop {
            read(&mut stream, &mut self.buffer).await?;
            if head.is_none() {
                head = AnswerHead::read(&self.buffer)?;
            }
            match head {
                Some(head) if self.buffer.len() > head.end || head.length == Some(0) => {
                    let first = sent.elapsed();
                    return Ok(StartedAnswer {
                        stream,
                        head,
                        sent,
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
        read => read.map(|_| ()).map_err(error_text),
    }
}

fn error_text(error: std::io::Error) -> String {
    error.to_string()
}

/// Where an answer's head ends, how its body's end is known, and what it says of the decision.
struct AnswerHead {
    end: usize,
    length: Option<usize>,
    why: Option<String>,
}

impl AnswerHead {
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
