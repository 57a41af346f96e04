//! The configuration: defaults, then files, then the environment, then flags.
//!
//! Every setting is defined once, here; the other folders take these types as they are. A setting's doc comment is its
//! documentation, and `configs/default.yaml` says the same with the same defaults. [`read`] reports every problem with its path
//! and its source. Only this folder reads `THINKGATE_` variables and the variables that hold keys.

mod address;
mod byte_size;
mod checker;
mod defaults;
mod did_you_mean;
mod environment;
mod load;
mod locate;
mod network;
mod problem;
mod provenance;
mod read_file;
mod reader;
mod restart;
mod secret;
mod serde_messages;
mod store_url;
mod units;
mod unread;
mod validate;
mod values;
mod warnings;
mod yaml_depth;
mod yaml_file;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use address::BaseUrl;
pub use load::{Flags, ParsedConfig, read};
pub use network::Network;
pub use problem::{Problem, Problems};
pub use read_file::{read_again, read_file};
pub use secret::{Digest, Revealed, Secret};
pub use store_url::StoreUrl;
pub use values::{Buckets, LogFormat, Mode, Provider};

/// The content of `configs/default.yaml`: every setting at its default, with its documentation.
pub const DEFAULT_YAML: &str = include_str!("../../configs/default.yaml");

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The address of the HTTP server. `THINKGATE_LISTEN` and `--listen` set it too. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// A second HTTP server for operators. Without it, operators use `listen` as clients do.
    pub ops: Option<Ops>,
    /// Limits and TLS of the HTTP server.
    pub server: Server,
    /// The keys of clients.
    pub auth: Auth,
    /// Timeouts, retries and health checks towards the model servers.
    pub upstream: Upstream,
    /// The gRPC server for Envoy. Without it, the gateway serves no Envoy.
    pub ext_proc: Option<ExtProc>,
    /// The classifier: the small model that reads prompts.
    pub classifier: ClassifierConfig,
    /// How the classifier's scores become modes.
    pub routing: Routing,
    /// Logs and traces.
    pub telemetry: Telemetry,
    /// Model servers whose models are taken from their `/v1/models`. `--upstream` adds one.
    pub discover: Vec<Discover>,
    /// The configured models, by the names that clients use.
    pub models: BTreeMap<String, ModelConfig>,
    /// Names that stand for a model per mode.
    pub aliases: BTreeMap<String, Alias>,
}

/// Limits and TLS of the HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    /// The number of requests served at the same time, at least 1. A request above it is refused with 429. The limit counts
    /// requests of both doors, HTTP and Envoy, from the end of their bodies. The last eighth of it (at least 8, at most a quarter)
    /// is kept for keys that hold less than an eighth; without keys, for addresses. There is no such share where all requests come
    /// with one key or from one address.
    pub max_in_flight: usize,
    /// The largest request body: bytes, or a size such as `32MiB`. A larger one is refused with 413.
    #[serde(deserialize_with = "byte_size::deserialize")]
    pub max_body_bytes: u64,
    /// The most that is held of the bodies of all requests, while they arrive and until they are sent: bytes, or a size such as
    /// `256MiB`, at least `max_body_bytes`. A request whose body does not fit is refused with 429. The last eighth is kept for short
    /// bodies, and for keys (or addresses) that hold less than an eighth.
    #[serde(deserialize_with = "byte_size::deserialize")]
    pub max_buffered_bytes: u64,
    /// The number of open connections of one listener, at least 1. Further connections wait, unaccepted, until one ends.
    pub max_connections: usize,
    /// The proxies in front of the gateway: addresses, or networks such as `10.0.0.0/8`. Where a request comes from one of them,
    /// its client is the last address in `x-forwarded-for` that is none of them. It matters only without `auth.keys`, for the
    /// shares of `max_in_flight`, `max_buffered_bytes` and the classifier.
    pub trusted_proxies: Vec<Network>,
    /// The time limit for a client's request headers, in milliseconds, from the connection or from the end of the last response. It
    /// also limits the TLS handshake, and closes an idle connection: over HTTP/2 after at most twice this time.
    pub headers_ms: u64,
    /// The longest pause within a request body, in milliseconds. After it the request is refused with 408.
    pub body_idle_ms: u64,
    /// The time limit for a whole request body, in milliseconds. After it the request is refused with 408. A request counts
    /// towards `max_in_flight` only when its body is there.
    pub body_ms: u64,
    /// The longest time that a client may read nothing of a response that is ready for it, in milliseconds. After it the connection
    /// is closed, over HTTP/2 also the one stream.
    pub write_idle_ms: u64,
    /// The time that running responses have to finish after SIGTERM, in milliseconds. After it they are ended.
    pub drain_ms: u64,
    /// The origins whose web pages may call the gateway (CORS). `"*"` is any origin. Empty, the default, turns CORS off.
    pub cors: Vec<String>,
    /// The certificate for HTTPS (HTTP/1.1 and HTTP/2). Without it, the server speaks plain HTTP.
    pub tls: Option<Tls>,
}

/// An HTTP server for operators, on an address of its own. It has no TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ops {
    /// Its address. `/metrics` and `/explain` move here from the clients' address; `/health` and `/ready` are at both. `/explain`
    /// needs a key here too, if `auth.keys` names any.
    pub listen: SocketAddr,
}

/// The keys of clients.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The keys. Every route but `/health`, `/ready` and `/metrics` needs one, and a client's key is never forwarded. Without keys
    /// every client is served, and its Authorization header is forwarded to endpoints that have no `api_key`.
    pub keys: Vec<Key>,
    /// A store that counts `requests_per_minute` for all replicas together. Without it, each replica counts for itself.
    pub shared_limits: Option<SharedLimitsConfig>,
}

/// A store that counts `requests_per_minute` for all replicas together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedLimitsConfig {
    /// The address of a Redis (5 or later) or Valkey: `redis://HOST:PORT`, or `rediss://` for TLS by the system's certificates; in
    /// whole by `env:NAME` or `file:PATH`, or with a password by name: `rediss://USER:env:NAME@HOST:PORT`. A database is chosen as
    /// `/1` at its end.
    pub url: StoreUrl,
    /// The longest time that a request waits for the store, in milliseconds, at least 1. If it answers later or not at all, each
    /// replica counts for itself until it answers again, and `/ready` says `degraded`.
    #[serde(default = "default_shared_limits_timeout_ms")]
    pub timeout_ms: u64,
}

/// The key of one client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// The name of its owner, for the log. Every key has another name.
    pub name: String,
    /// The bearer token: `env:NAME` or `file:PATH`, or its hash: `sha256:HEX`, as `printf %s KEY | sha256sum` prints it.
    pub key: Secret,
    /// The models and aliases that it may use, by the names that clients write. Without the setting it may use all; an empty list
    /// is an error. Another model is refused with 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// The requests that it may send per minute, at least 1: all of them at once, then evenly at this rate. A request above it is
    /// refused with 429. Without the setting there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// The requests of this key that are served at the same time, at least 1. A request above it is refused with 429. Without the
    /// setting only `server.max_in_flight` limits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<usize>,
}

/// Timeouts, retries and health checks towards the model servers. All times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Upstream {
    /// The time limit for a new connection, TLS included.
    pub connect_ms: u64,
    /// The time limit from the request to the response headers. A server sends the headers of an answer that is not streamed
    /// when the whole answer is done.
    pub headers_ms: u64,
    /// The time limit from a stream's headers to its first byte. vLLM sends the headers at once and the first token after queue
    /// and prefill.
    pub first_chunk_ms: u64,
    /// The longest pause within a response body, after its first byte. A whole stream has no time limit.
    pub idle_ms: u64,
    /// The time that an idle connection is kept for the next request. Keep it below the server's own limit: vLLM closes idle
    /// connections after 5,000.
    pub pool_idle_ms: u64,
    /// The number of other endpoints that may be tried after the first. 0 turns retries off.
    pub retries: u32,
    /// The number of consecutive failures after which an endpoint is ejected, at least 1. A failure is a refused or reset
    /// connection or a timeout; a complete response, also one with an error status, is none.
    pub failures: u32,
    /// The time that an endpoint is ejected for, before one request tries it again. A model's last endpoint is never ejected.
    pub open_ms: u64,
    /// The interval between two requests for a server's `/v1/models`.
    pub discover_ms: u64,
    /// The interval between two health checks of a server; 0 turns them off. A check asks for `/health`, and any response below
    /// 500 is healthy.
    pub health_ms: u64,
    /// The number of consecutive checks that change a server from healthy to unhealthy and back, at least 1. The endpoints of an
    /// unhealthy server get no requests, except for a model's last endpoint.
    pub health_results: u32,
}

/// The gRPC server for Envoy: an external processor (`envoy.service.ext_proc.v3`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtProc {
    /// Its address.
    pub listen: SocketAddr,
    /// The certificate for TLS. Without it, the server speaks plain HTTP/2.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The number of streams at the same time on one connection; every request of Envoy is one stream. On a new connection Envoy
    /// opens streams before it knows this limit, and fails the requests above it. So keep it above the number of requests that
    /// may arrive at once.
    #[serde(default = "default_max_streams")]
    pub max_streams: u32,
    /// The largest gRPC message, in bytes. In BUFFERED mode a message holds a whole request body, so it must be larger than
    /// `server.max_body_bytes`. A larger message ends the stream, and Envoy treats that as a failure of the processor. A size such
    /// as `64MiB` is taken too.
    #[serde(
        default = "default_max_message_bytes",
        deserialize_with = "byte_size::deserialize"
    )]
    pub max_message_bytes: usize,
    /// True: paths that are on no list, such as a server's own admin routes, are forwarded as they come, unjudged. Without the
    /// setting they are refused with 404, as by the HTTP server. It cannot be set beside `auth.keys`.
    #[serde(default)]
    pub unguarded_paths: bool,
}

/// A certificate and its key, in PEM files. Files that change are read again without a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    /// The file of the certificate chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The file of the private key.
    pub key: PathBuf,
}

/// The classifier: the small model that reads prompts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassifierConfig {
    /// The folder of the model: `model.onnx`, `tokenizer.json` and `config.json`. A relative path is looked up in the working
    /// directory, then in the folders above the executable.
    pub model: PathBuf,
    /// The ONNX Runtime library, version 1.24 or later; `scripts/setup` fetches it. A relative path is looked up as for `model`.
    pub runtime: PathBuf,
    /// The execution providers of ONNX Runtime, in order of preference: `tensorrt`, `cuda`, `cpu`. One that does not load is an
    /// error.
    pub providers: Vec<Provider>,
    /// The number of copies of the model, each with a thread of its own and some 40 MB of memory. 0 chooses: one per core, at most
    /// four, for a model below 64 MB on the CPU; one for any other model.
    pub sessions: usize,
    /// The number of threads of one inference. 0 chooses. For a model below 64 MB on the CPU: one where the processor has dot
    /// products of bytes (VNNI on x86), else the cores, at most four. For any other model: the cores, shared among the sessions.
    pub threads: usize,
    /// The fixed shapes that inferences are padded to. Without the setting: the default [`Buckets`] with `cuda` or `tensorrt`, and
    /// no padding on the CPU.
    pub buckets: Option<Buckets>,
    /// The folder where TensorRT keeps the engines that it builds. Without it, they are built at every start, which takes minutes.
    pub engine_cache: Option<PathBuf>,
    /// The number of tokens read of a prompt, 16 to 65,536; less if the model's `config.json` says so. Of a longer prompt the head
    /// and the tail are read.
    pub max_tokens: usize,
    /// The time limit for a decision, in milliseconds. After it the request takes `routing.fallback`.
    pub deadline_ms: u64,
    /// The number of requests that may wait for a decision, at least 1. A request above it takes `routing.fallback` at once, and so
    /// does one that would likely miss `deadline_ms`.
    pub queue: usize,
    /// The number of scores kept in memory, by the content of the prompt. 0 turns the cache off.
    pub cache: usize,
    /// What `/ready` answers once the model has failed for good. True: 503. False: 200 with `degraded`, and every request takes
    /// `routing.fallback`.
    pub required: bool,
}

/// How the classifier's scores become modes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Routing {
    /// The score from which the model thinks, 0 to 1. The score is P(reasoning), rounded to three digits.
    pub threshold: f64,
    /// The distance from the threshold that the score of a turn needs to change the mode of a conversation, 0 to 0.5.
    pub switch_margin: f64,
    /// The number of turns of a conversation that are scored at most, from the last one backwards; 1 decides every turn alone.
    pub turns: usize,
    /// A forced mode per domain label of the classifier, such as `{ law: reasoning }`. It wins over the score.
    pub domains: BTreeMap<String, Mode>,
    /// The mode of a request that the classifier cannot decide: late, failed, full, or nothing readable to judge.
    pub fallback: Mode,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// The log lines that are written: a level such as `info`, or filters by target such as `thinkgate=debug,warn`.
    pub log: String,
    /// The format of log lines on standard error: `json`, one object per line, or `text`.
    pub format: LogFormat,
    /// The collector that gets traces and metrics by OTLP over HTTP, such as `http://127.0.0.1:4318`. Without it, none are sent.
    pub otlp: Option<BaseUrl>,
}

/// A model server whose models are taken from its `/v1/models`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Discover {
    /// Its address. It may end in `/v1` or carry a path prefix.
    pub url: BaseUrl,
    /// The key that is sent to it: `env:NAME` or `file:PATH`. Without the setting none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
}

/// A model, by the name that clients use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The family, which says how the model is switched: a family id, or `auto` to recognise it from the names at the endpoints.
    #[serde(default = "default_family")]
    pub family: String,
    /// False: the model's requests are never judged and always forwarded as the client wrote them.
    #[serde(default = "default_gate")]
    pub gate: bool,
    /// The servers that have the model. The list may be empty only behind Envoy (`ext_proc`), which has endpoints of its own.
    #[serde(default)]
    pub endpoints: Vec<EndpointConfig>,
    /// The key for every endpoint without an `api_key` of its own, and for Envoy's endpoints: `env:NAME` or `file:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
}

/// A server that has a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointConfig {
    /// Its address. It may end in `/v1` or carry a path prefix.
    pub url: BaseUrl,
    /// The model's name at this server. Without it, the name is the one that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The key that is sent to it: `env:NAME` or `file:PATH`. Without it, the `api_key` of the model is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// Its share of the requests relative to the model's other endpoints, at least 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

/// One name that stands for a model per mode. The mode chooses the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// The model for requests that need thought.
    pub reasoning: String,
    /// The model for requests that need none.
    pub direct: String,
    /// The model for requests that are not judged.
    pub unchanged: String,
}

fn default_shared_limits_timeout_ms() -> u64 {
    20
}

fn default_family() -> String {
    "auto".into()
}

fn default_gate() -> bool {
    true
}

fn default_weight() -> u32 {
    1
}

fn default_max_streams() -> u32 {
    16_384
}

fn default_max_message_bytes() -> usize {
    64 << 20
}
