//! The gateway, built and run as the commands do it, on port 0.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use thinkgate::{
    app,
    config::Config,
    state::{AppState, StateHandle},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    fixture,
    http::{Answer, send},
    server::Server,
};

/// A gateway that runs until it is stopped or dropped.
pub struct Gateway {
    pub address: SocketAddr,
    /// Where the Envoy door listens, when it is open.
    pub envoy: Option<SocketAddr>,
    /// Where operators ask, when they have their own door.
    pub ops: Option<SocketAddr>,
    pub state_handle: StateHandle,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A configuration with the tests' classifier, in front of `servers`, changed by `yaml`.
pub fn config(servers: &[&Server], yaml: &str) -> Config {
    let mut config = Config::from_yaml(yaml).unwrap();
    let written = yaml.contains("model: ") && yaml.contains("classifier");
    if !written {
        config.classifier.model = fixture("models/tiny");
    }
    config.classifier.threads = 1;
    config.listen = "127.0.0.1:0".parse().unwrap();
    if !yaml.contains("deadline_ms") {
        config.classifier.deadline_ms = 5_000; // a busy test machine must not change a decision
    }
    for server in servers {
        let url = thinkgate::config::BaseUrl::parse(&server.url()).unwrap();
        config
            .discover
            .push(thinkgate::config::Discover { url, api_key: None });
    }
    config
}

impl Gateway {
    /// In front of `server`, whose models are discovered.
    pub async fn before(server: &Server) -> Self {
        Self::start(config(&[server], "{}")).await
    }

    /// In front of `server`, with settings.
    pub async fn with(server: &Server, yaml: &str) -> Self {
        Self::start(config(&[server], yaml)).await
    }

    /// In front of two servers of one model, of which `first` is asked first as good as always.
    pub async fn preferring(first: &Server, second: &Server) -> Self {
        let yaml = format!(
            "models: {{ Qwen3-tiny: {{ endpoints: [{{ url: '{}', weight: 1000000 }}, {{ url: '{}' }}] }} }}",
            first.url(),
            second.url()
        );
        Self::start(config(&[], &yaml)).await
    }

    /// Starts and waits until it is ready.
    pub async fn start(config: Config) -> Self {
        let gateway = Self::start_unready(config).await;
        for _ in 0..500 {
            if gateway.state().pending().is_empty() {
                return gateway;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("never ready: {:?}", gateway.state().pending());
    }

    /// Starts without waiting for anything.
    pub async fn start_unready(config: Config) -> Self {
        let state_handle = StateHandle::new(app::build(config).unwrap());
        let listeners = app::Listeners::bind(&state_handle).await.unwrap();
        let address = listeners.http.socket.local_addr().unwrap();
        let address_of = |listener: &app::Listener| listener.socket.local_addr().unwrap();
        let envoy = listeners.ext_proc.as_ref().map(address_of);
        let ops = listeners.ops.as_ref().map(address_of);
        let stop = CancellationToken::new();
        let task = tokio::spawn(app::run(
            state_handle.clone(),
            listeners,
            None,
            stop.clone(),
        ));
        Self {
            address,
            envoy,
            ops,
            state_handle,
            stop,
            task,
        }
    }

    /// What it serves from.
    pub fn state(&self) -> Arc<AppState> {
        self.state_handle.load()
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        send(self.address, "POST", path, &headers, body).await
    }

    pub async fn chat(&self, body: &str) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.address, "GET", path, &[], "").await
    }

    /// Asks it to stop; the handle ends when it has drained.
    pub fn stop(mut self) -> JoinHandle<anyhow::Result<()>> {
        self.stop.cancel();
        std::mem::replace(&mut self.task, tokio::spawn(async { Ok(()) }))
    }
}
