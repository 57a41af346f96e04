//! A model server with a script: a real socket, real bytes, and no manners of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use super::{http::find, steps::perform};

pub use super::steps::{Step, chunk, json, last_chunk, sse_head};

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
    counts: Arc<Counts>,
    task: AbortHandle,
}

/// What a server remembers of its connections.
#[derive(Debug, Default)]
pub(super) struct Counts {
    arrived: Mutex<Vec<Arrived>>,
    pub(super) gone: AtomicUsize,
    pub(super) sent: AtomicUsize,
    open: AtomicUsize,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer that a chat client would take.
pub const OK_BODY: &str = r#"{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":2}}}"#;

/// The list of models of a server that has one.
pub const MODELS: &str =
    r#"{"object":"list","data":[{"id":"Qwen3-tiny","object":"model","root":"Qwen3-tiny"}]}"#;

impl Server {
    /// A server that lists `Qwen3-tiny` and answers everything else by `script`.
    pub async fn start(script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listing(MODELS, script).await
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
        Self::whole(listener, listed(models, script))
    }

    /// A server that answers whatever it is asked by `script`, the gateway's own questions too.
    pub fn whole(
        listener: TcpListener,
        script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::run(listener, true, Arc::new(script))
    }

    /// A server that answers a request as soon as it has read the head of it, and reads no body unless a step does.
    pub async fn hasty(script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::run(listener, false, Arc::new(listed(MODELS, script)))
    }

    fn run(listener: TcpListener, reads_body: bool, script: Script) -> Self {
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let remembered = counts.clone();
        let accept = async move {
            let mut connections = JoinSet::new(); // which end with the server
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, counts) = (script.clone(), remembered.clone());
                connections.spawn(async move { serve(stream, script, reads_body, &counts).await });
            }
        };
        let task = tokio::spawn(accept).abort_handle();
        Self {
            address,
            counts,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests of clients that arrived.
    pub fn arrived(&self) -> Vec<Arrived> {
        let all = self.counts.arrived.lock().unwrap();
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
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Open connections that a client's request came on.
    pub fn open(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// How many clients left while they were kept waiting.
    pub fn gone(&self) -> usize {
        self.counts.gone.load(Ordering::Relaxed)
    }
}

/// The gateway's own questions answered, and all others by `script`.
fn listed(
    models: &'static str,
    script: impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static,
) -> impl Fn(&Arrived) -> Vec<Step> + Send + Sync + 'static {
    move |request| match request.line.split(' ').nth(1) {
        Some("/v1/models") => json("200 OK", models),
        Some("/health") => json("200 OK", ""),
        Some("/tokenize") if request.is_ours() => json("404 Not Found", "{}"),
        _ => script(request),
    }
}

/// Counts a connection as open.
struct Open<'a>(&'a Counts);

impl<'a> Open<'a> {
    fn count(counts: &'a Counts) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn serve(mut stream: TcpStream, script: Script, reads_body: bool, counts: &Counts) {
    let mut buffer = Vec::new();
    let mut open = None;
    while let Some(request) = read(&mut stream, &mut buffer, reads_body).await {
        counts.arrived.lock().unwrap().push(request.clone());
        if !request.is_ours() {
            open.get_or_insert_with(|| Open::count(counts));
        }
        let steps = script(&request);
        // Without any it hangs up without an answer.
        if steps.is_empty() || !perform(steps, &mut stream, counts).await {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, reads_body: bool) -> Option<Arrived> {
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
        .filter(|_| reads_body)
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
