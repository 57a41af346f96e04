//! A model server with a script: a real socket, real bytes, and no manners of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::http::find;

/// What the server does next on a connection.
#[derive(Debug, Clone)]
pub enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Waits.
    Wait(Duration),
    /// Waits until the client is gone.
    Hang,
    /// Closes with a reset instead of an orderly end.
    Reset,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub line: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Arrived {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Arrived {
    /// True for a question of the gateway's own: whether the server is well, what it lists, how it renders.
    pub fn is_ours(&self) -> bool {
        let path = self.line.split(' ').nth(1).unwrap_or_default();
        let asks = |route: &&str| path.ends_with(*route);
        let asked = ["/v1/models", "/health", "/tokenize"].iter().any(asks);
        asked && self.header("x-request-id").is_none()
    }
}

type Script = Arc<dyn Fn(&Arrived) -> Vec<Step> + Send + Sync>;

/// A scripted server; it ends when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    gone: Arc<Mutex<usize>>,
    sent: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
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

/// An answer that a chat client would take.
pub const OK_BODY: &str = r#"{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":2}}}"#;

impl Server {
    /// A server that lists `Qwen3-tiny` and answers everything else by `script`.
    pub async fn start(script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listing(r#"{"object":"list","data":[{"id":"Qwen3-tiny","object":"model","root":"Qwen3-tiny"}]}"#, script).await
    }

    /// A server that answers every chat with [`OK_BODY`].
    pub async fn friendly() -> Self {
        Self::start(|_| json("200 OK", OK_BODY)).await
    }

    /// A server with a list of models of its own.
    pub async fn listing(
        models: &'static str,
        script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::on(
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            models,
            script,
        )
        .await
    }

    /// The same on a given socket.
    pub async fn on(
        listener: TcpListener,
        models: &'static str,
        script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::whole(listener, move |request| {
            match request.line.split(' ').nth(1) {
                Some("/v1/models") => json("200 OK", models),
                Some("/health") => json("200 OK", ""),
                Some("/tokenize") if request.is_ours() => json("404 Not Found", "{}"),
                _ => script(request),
            }
        })
    }

    /// A server that answers whatever it is asked by `script`, the gateway's own questions too.
    pub fn whole(
        listener: TcpListener,
        script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (arrived, gone) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let sent = Arc::new(AtomicUsize::new(0));
        let script: Script = Arc::new(script);
        let (log, left, counted) = (arrived.clone(), gone.clone(), sent.clone());
        let accept = async move {
            let mut connections = JoinSet::new(); // which end with the server
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(
                    stream,
                    script.clone(),
                    log.clone(),
                    left.clone(),
                    counted.clone(),
                ));
            }
        };
        let task = tokio::spawn(accept).abort_handle();
        Self {
            address,
            arrived,
            gone,
            sent,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests of clients that arrived.
    pub fn arrived(&self) -> Vec<Arrived> {
        let all = self.arrived.lock().unwrap();
        all.iter()
            .filter(|request| !request.is_ours())
            .cloned()
            .collect()
    }

    /// The one request that arrived.
    pub fn only(&self) -> Arrived {
        let mut all = self.arrived();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }

    /// Bytes that found their way into the client's socket.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many clients left while they were kept waiting.
    pub fn gone(&self) -> usize {
        *self.gone.lock().unwrap()
    }
}

async fn serve(
    mut stream: TcpStream,
    script: Script,
    log: Arc<Mutex<Vec<Arrived>>>,
    left: Arc<Mutex<usize>>,
    sent: Arc<AtomicUsize>,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        log.lock().unwrap().push(request.clone());
        let steps = script(&request);
        if steps.is_empty() {
            return; // hang up without an answer
        }
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        *left.lock().unwrap() += 1;
                        return;
                    }
                    sent.fetch_add(bytes.len(), Ordering::Relaxed);
                }
                Step::Wait(time) => sleep(time).await,
                Step::Hang => {
                    let _ = stream.read(&mut [0; 1]).await;
                    *left.lock().unwrap() += 1;
                    return;
                }
                Step::Reset => {
                    stream.set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Arrived> {
    let end = loop {
        match find(buffer, b"\r\n\r\n") {
            Some(end) => break end,
            None if stream.read_buf(buffer).await.ok()? == 0 => return None,
            None => {}
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut request = Arrived {
        line: head.lines().next().unwrap().to_owned(),
        head,
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    request.body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Some(request)
}
