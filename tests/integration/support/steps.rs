//! What a scripted server does on a connection, step by step.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::server::Counts;

/// What the server does next on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Waits until it is told to go on.
    Until(CancellationToken),
    /// Waits until the client is gone.
    Hang,
    /// Closes with a reset instead of an orderly end.
    Reset,
    /// Ends its own side in order, and reads what still comes until the client is gone.
    HalfClose,
    /// Closes at once, whatever was not read.
    Close,
}

/// A plain JSON answer.
pub fn json(status: &str, body: &str) -> Vec<Step> {
    vec![Step::Send(
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into(),
    )]
}

/// The head of a stream of events.
pub fn sse_head() -> Step {
    Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n".to_vec())
}

/// One piece of a chunked body.
pub fn chunk(data: &str) -> Step {
    Step::Send(format!("{:x}\r\n{data}\r\n", data.len()).into())
}

/// The end of a chunked body.
pub fn last_chunk() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// Does what the steps say; true when the connection may carry another request.
pub(super) async fn perform(steps: Vec<Step>, stream: &mut TcpStream, counts: &Counts) -> bool {
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    counts.gone.fetch_add(1, Ordering::Relaxed);
                    return false;
                }
                counts.sent.fetch_add(bytes.len(), Ordering::Relaxed);
            }
            Step::Wait(time) => sleep(time).await,
            Step::Until(told) => told.cancelled().await,
            Step::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                counts.gone.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            Step::Reset => {
                stream.set_zero_linger().unwrap();
                return false;
            }
            Step::HalfClose => {
                let _ = stream.shutdown().await;
                let mut thrown_away = vec![0; 64 << 10];
                while matches!(stream.read(&mut thrown_away).await, Ok(1..)) {}
                return false;
            }
            Step::Close => return false,
        }
    }
    true
}
