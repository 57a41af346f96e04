//! A closed loop: every connection asks again as soon as it is answered. Only towards this machine.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

/// The longest an answer may take, and the most errors before a connection gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const ERRORS: usize = 20;

pub struct Plan {
    pub address: SocketAddr,
    pub body: Vec<u8>,
    pub connections: usize,
    pub seconds: f64,
}

/// Microseconds to the first byte of the answer's body, and to its end.
type Sample = (u64, u64);

pub async fn run(plan: Plan) -> Value {
    assert!(
        plan.address.ip().is_loopback(),
        "load is for this machine only"
    );
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: {}\r\n\r\n",
        plan.address,
        plan.body.len()
    );
    let request: Arc<[u8]> = [head.as_bytes(), &plan.body].concat().into();
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(plan.seconds);
    let mut connections = JoinSet::new();
    for _ in 0..plan.connections {
        connections.spawn(connection(plan.address, request.clone(), end));
    }
    let (mut samples, mut errors) = (Vec::new(), Vec::new());
    while let Some(ended) = connections.join_next().await {
        let (seen, failed) = ended.unwrap();
        samples.extend(seen);
        errors.extend(failed);
    }
    let elapsed = began.elapsed().as_secs_f64();
    let quantile = |of: fn(&Sample) -> u64, q: f64| -> Value {
        let mut values: Vec<u64> = samples.iter().map(of).collect();
        values.sort_unstable();
        let index = (values.len().saturating_sub(1) as f64 * q).round() as usize;
        values.get(index).copied().into()
    };
    json!({
        "n": samples.len(), "rate": samples.len() as f64 / elapsed,
        "errors": errors.len(), "error": errors.first(),
        "p50": quantile(|s| s.1, 0.5), "p99": quantile(|s| s.1, 0.99),
        "first_p50": quantile(|s| s.0, 0.5), "first_p99": quantile(|s| s.0, 0.99),
    })
}

async fn connection(
    address: SocketAddr,
    request: Arc<[u8]>,
    end: Instant,
) -> (Vec<Sample>, Vec<String>) {
    let (mut samples, mut errors) = (Vec::new(), Vec::new());
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut open: Option<TcpStream> = None;
    while Instant::now() < end && errors.len() < ERRORS {
        let asked = timeout(PATIENCE, ask(address, &mut open, &request, &mut buffer));
        match asked.await {
            Ok(Ok(sample)) => samples.push(sample),
            Ok(Err(error)) => {
                open = None;
                errors.push(error);
            }
            Err(_) => {
                open = None;
                errors.push("no answer in time".into());
            }
        }
    }
    (samples, errors)
}

async fn ask(
    address: SocketAddr,
    open: &mut Option<TcpStream>,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<Sample, String> {
    let stream = match open {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            open.insert(stream)
        }
    };
    let began = Instant::now();
    stream
        .write_all(request)
        .await
        .map_err(|error| error.to_string())?;
    buffer.clear();
    let (mut first, mut framing) = (None, None);
    loop {
        let count = stream
            .read_buf(buffer)
            .await
            .map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("the connection ended".into());
        }
        if framing.is_none() {
            framing = Framing::read(buffer)?;
        }
        let Some(framing) = &framing else { continue };
        if buffer.len() > framing.start {
            first.get_or_insert_with(|| micros(began));
        }
        if framing.is_complete(buffer) {
            return Ok((first.unwrap_or_default(), micros(began)));
        }
    }
}

fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

/// Where an answer's body starts, and how its end is known.
struct Framing {
    start: usize,
    length: Option<usize>,
}

impl Framing {
    fn read(buffer: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = memmem::find(buffer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 200") {
            return Err(head.lines().next().unwrap_or_default().to_owned());
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        Ok(Some(Self {
            start: end + 4,
            length,
        }))
    }

    fn is_complete(&self, buffer: &[u8]) -> bool {
        match self.length {
            Some(length) => buffer.len() >= self.start + length,
            None => buffer.ends_with(b"\r\n0\r\n\r\n"),
        }
    }
}
