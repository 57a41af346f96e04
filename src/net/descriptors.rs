//! When the process has no file descriptor left: a connection is taken with one that was kept for this, answered with a 503, and
//! closed. Without it, clients would wait in the socket's queue for nothing.

use std::{
    fs::File,
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use rustix::process::{Resource, getrlimit};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// The longest time for one such answer. The next client waits for it, because they share the descriptor.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// The shortest time between two log lines about it.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A descriptor that is kept for the time when there is no other.
#[derive(Debug)]
pub struct SpareDescriptor {
    file: Option<File>,
    logged: Option<Instant>,
}

/// True when an error says that the process, or the system, has no file descriptor left (`EMFILE`, `ENFILE`).
pub fn is_exhausted(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

/// The limit on open files, in words.
pub fn limit() -> String {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string())
}

impl SpareDescriptor {
    /// Keeps a descriptor.
    pub fn keep() -> Self {
        Self {
            file: File::open("/dev/null").ok(),
            logged: None,
        }
    }

    /// Takes the next connection with the kept descriptor, answers it and closes it. `answer` is made for each. False when there
    /// was none to take.
    pub async fn refuse(
        &mut self,
        listener: &TcpListener,
        tls: Option<&TlsAcceptor>,
        answer: impl FnOnce() -> Bytes,
    ) -> bool {
        let now = Instant::now();
        if self
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_INTERVAL)
        {
            self.logged = Some(now);
            let limit = limit();
            tracing::error!(
                limit,
                "no file descriptors are left, connections are refused with 503; raise the limit on open files (ulimit -n)"
            );
        }
        self.file = None;
        let accepted = listener.accept().now_or_never();
        let is_taken = matches!(accepted, Some(Ok(_)));
        if let Some(Ok((stream, _))) = accepted {
            let answered = async {
                match tls {
                    None => answer_and_close(stream, answer()).await,
                    Some(tls) => answer_and_close(tls.accept(stream).await?, answer()).await,
                }
            };
            let _ = timeout(ANSWER_TIME, answered).await; // the client left, or is slow
        }
        self.file = File::open("/dev/null").ok();
        is_taken
    }
}

/// Answers before anything is read, then waits for the client to close: it may still be sending.
async fn answer_and_close(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Bytes,
) -> io::Result<()> {
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    let mut piece = [0; 4 << 10];
    while stream.read(&mut piece).await? > 0 {}
    Ok(())
}
