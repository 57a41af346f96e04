//! What the operator wrote: defaults, then files, then the environment, then flags.
//!
//! One definition per setting, here; its doc comment is its documentation, and `configs/default.yaml` says the same with the
//! same defaults. Reading reports every problem with its path. Only this stage reads the environment.

mod address;
mod defaults;
mod file;
mod load;
mod locate;
mod problem;
mod provenance;
mod restart;
mod secret;
mod serde_messages;
mod units;
mod validate;
mod values;
mod warnings;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use address::BaseUrl;
pub use load::{Flags, ParsedConfig, read};
pub use problem::{Problem, Problems};
pub use secret::{Digest, Revealed, Secret};
pub use values::{Buckets, LogFormat, Mode, Provider};

/// `configs/default.yaml`: every setting at its default, documented.
pub const DEFAULT_YAML: &str = include_str!("../../configs/default.yaml");

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the HTTP door listens.
    pub listen: SocketAddr,
    /// Where operators ask; absent: at `listen`, beside the clients.
    pub ops: Option<Ops>,
    /// Limits of the HTTP door.
    pub server: Server,
    /// Who may come in.
    pub auth: Auth,
    /// Waits and retries on the way to the model servers.
    pub upstream: Upstream,
    /// The door for Envoy; absent: closed.
    pub ext_proc: Option<ExtProc>,
    /// The model that decides.
    pub classifier: Classifier,
    /// What its scores mean.
    pub routing: Routing,
    /// What the gateway says about itself.
    pub telemetry: Telemetry,
    /// Servers whose models are taken from their `/v1/models`.
    pub discover: Vec<Discover>,
    /// Models by the name clients use.
    pub models: BTreeMap<String, Model>,
    /// Names with a model per mode.
    pub aliases: BTreeMap<String, Alias>,
}

/// Limits of the HTTP door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Requests served at a time; more are refused with 429.
    pub max_in_flight: usize,
    /// The largest request body, in bytes; a larger one is refused with 413.
    pub max_body_bytes: u64,
    /// How long a client may take to send its request headers, in milliseconds, from the connection or the answer before on. A
    /// connection on which nothing more is asked is closed after it, over HTTP/2 within twice that.
    pub headers_ms: u64,
    /// How long a client may pause while it sends its body, in milliseconds.
    pub body_idle_ms: u64,
    /// How long a client may take to send its whole body, in milliseconds: it keeps a place among the requests in flight meanwhile.
    pub body_ms: u64,
    /// How long a client may take nothing of an answer that waits for it, in milliseconds. Then its connection is closed, over
    /// HTTP/2 also the one stream.
    pub write_idle_ms: u64,
    /// How long running answers may take to finish after SIGTERM, in milliseconds.
    pub drain_ms: u64,
    /// Origins that browsers may call from; `"*"` is any, empty turns CORS off.
    pub cors: Vec<String>,
    /// Its certificate; absent: plain HTTP.
    pub tls: Option<Tls>,
}

/// An address for operators alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ops {
    /// Where `/metrics` and `/explain` are, and no longer at the clients' address; `/health` and `/ready` are at both.
    pub listen: SocketAddr,
}

/// Who may come in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// Without keys everybody, and a client's Authorization goes on to the endpoint.
    pub keys: Vec<Key>,
}

/// One client key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Who it belongs to; appears in the log.
    pub name: String,
    /// The bearer token: `env:NAME` or `file:PATH`, or what it hashes to: `sha256:HEX`.
    pub key: Secret,
    /// The models and aliases it may be used for, by the names that clients write; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Requests a minute: as many at once, then one after another at that pace. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
}

/// Waits and retries on the way to the model servers, each wait in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// Until a connection stands.
    pub connect_ms: u64,
    /// From the request sent to the response headers. A plain answer sends its headers when it is done.
    pub headers_ms: u64,
    /// From a stream's headers to its first byte. vLLM sends the headers at once and the first token after queue and prefill.
    pub first_chunk_ms: u64,
    /// Between two pieces of a body.
    pub idle_ms: u64,
    /// How long an unused connection is kept. vLLM's server closes its end after 5,000.
    pub pool_idle_ms: u64,
    /// How many other endpoints may be tried after the first.
    pub retries: u32,
    /// Failures in a row after which an endpoint is left out: refused or reset connections, and limits that passed.
    pub failures: u32,
    /// How long it is left out before one request tries it again. A model's last endpoint is never left out.
    pub open_ms: u64,
    /// Between two looks at `/v1/models` of a server.
    pub discover_ms: u64,
    /// Between two questions to a server's `/health`; 0 asks none. An answer below 500 is well.
    pub health_ms: u64,
    /// Results in a row that turn the verdict. The endpoints of a server that is not well are left out.
    pub health_results: u32,
}

/// The door for Envoy: an external processor (`envoy.service.ext_proc.v3`) over gRPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtProc {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate; absent: plain HTTP/2.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Streams served at a time on one connection; every request that Envoy asks about is one. Envoy opens a new connection's
    /// first streams before it has heard of this limit, and fails the requests of those over it: keep it above what arrives
    /// at once.
    #[serde(default = "streams")]
    pub max_streams: u32,
    /// The largest message, in bytes. In BUFFERED mode a message holds a whole request body, so `server.max_body_bytes` and
    /// some room; what is larger ends the stream, which Envoy treats as a failure of the processor.
    #[serde(default = "message_bytes")]
    pub max_message_bytes: usize,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The model that decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Classifier {
    /// A directory with `model.onnx`, `tokenizer.json` and `config.json`.
    pub model: PathBuf,
    /// The ONNX Runtime library, version 1.24 or later.
    pub runtime: PathBuf,
    /// Execution providers in order of preference: `tensorrt`, `cuda`, `cpu`.
    pub providers: Vec<Provider>,
    /// Models loaded side by side, each with a thread that owns it; 0 is one a core, at most four, for a model below 64 MB on
    /// the CPU, else one.
    pub sessions: usize,
    /// Threads of one inference; 0 is one for such a model where the processor has dot products of bytes (VNNI) and the cores,
    /// at most four, where it has none; for another model the cores shared among the sessions.
    pub threads: usize,
    /// Fixed shapes that inferences are padded to. Unset: those of [`Buckets::default`] with a graphics card, else none.
    pub buckets: Option<Buckets>,
    /// Where TensorRT keeps the engines it built, a directory; unset: it builds them at every start.
    pub engine_cache: Option<PathBuf>,
    /// Tokens read of a prompt at most, or fewer if the model's `config.json` says so; of a longer one the head and the tail.
    pub max_tokens: usize,
    /// How long a request waits for its decision, in milliseconds; then it falls back.
    pub deadline_ms: u64,
    /// How many requests may wait for a decision; more fall back at once.
    pub queue: usize,
    /// How many scores are remembered; 0 is none.
    pub cache: usize,
    /// True: `/ready` is 503 once the model has failed for good. False: its requests fall back, and `/ready` says so.
    pub required: bool,
}

/// What scores mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// P(reasoning), rounded to three digits, at or above: reason.
    pub threshold: f64,
    /// How far from the threshold a score has to be to change the mode of a conversation.
    pub switch_margin: f64,
    /// How many turns of a conversation are scored at most, from the last backwards; 1 judges every turn alone.
    pub turns: usize,
    /// Modes forced for domain labels of the classifier.
    pub domains: BTreeMap<String, Mode>,
    /// The mode when the classifier cannot say.
    pub fallback: Mode,
}

/// What the gateway says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// Which log lines are written, as `tracing` filters: `info`, `thinkgate=debug,warn`.
    pub log: String,
    /// How: `json`, an object a line, or `text`.
    pub format: LogFormat,
    /// Where traces go by OTLP over HTTP, such as `http://127.0.0.1:4318`; unset: nowhere.
    pub otlp: Option<BaseUrl>,
}

/// A server whose models are discovered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discover {
    /// Its address; may end in `/v1` or carry a path prefix.
    pub url: BaseUrl,
    /// Its key: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
}

/// A model by the name clients use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// A family id, or `auto`: recognised from the names at the endpoints.
    #[serde(default = "auto")]
    pub family: String,
    /// False: never judged, always forwarded as it came.
    #[serde(default = "yes")]
    pub gate: bool,
    /// The servers that have it. May be left out where Envoy owns them.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// The key of every endpoint without one of its own, and towards Envoy's: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
}

/// One server that has a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address; may end in `/v1` or carry a path prefix.
    pub url: BaseUrl,
    /// The model's name there, when it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its key: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// Its share of the requests, relative to the others.
    #[serde(default = "one")]
    pub weight: u32,
}

/// One name with a model per mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// Takes requests that need thought.
    pub reasoning: String,
    /// Takes requests that do not.
    pub direct: String,
    /// Takes requests that are not judged.
    pub unchanged: String,
}

fn auto() -> String {
    "auto".into()
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn streams() -> u32 {
    1024
}

fn message_bytes() -> usize {
    64 << 20
}
