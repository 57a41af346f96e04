//! The default of every setting. A test proves that `configs/default.yaml` has the same.

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    ClassifierConfig, Config, LogFormat, Mode, Provider, Routing, Server, Telemetry, Upstream,
};

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            ops: None,
            server: Server::default(),
            auth: super::Auth::default(),
            upstream: Upstream::default(),
            ext_proc: None,
            classifier: ClassifierConfig::default(),
            routing: Routing::default(),
            telemetry: Telemetry::default(),
            discover: Vec::new(),
            models: Default::default(),
            aliases: Default::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            max_in_flight: 1024,
            max_body_bytes: 32 << 20,
            max_buffered_bytes: 256 << 20,
            max_connections: 16_384,
            trusted_proxies: Vec::new(),
            headers_ms: 30_000,
            body_idle_ms: 30_000,
            body_ms: 120_000,
            write_idle_ms: 120_000,
            drain_ms: 30_000,
            cors: Vec::new(),
            tls: None,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            connect_ms: 2_000,
            headers_ms: 600_000,
            first_chunk_ms: 600_000,
            idle_ms: 120_000,
            pool_idle_ms: 4_000,
            retries: 2,
            failures: 5,
            open_ms: 5_000,
            discover_ms: 5_000,
            health_ms: 5_000,
            health_results: 3,
        }
    }
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self {
            model: "onnx/router".into(),
            runtime: "onnx/runtime/libonnxruntime.so".into(),
            providers: vec![Provider::Cpu],
            sessions: 0,
            threads: 0,
            buckets: None,
            engine_cache: None,
            max_tokens: 512,
            deadline_ms: 100,
            queue: 256,
            cache: 65_536,
            required: false,
        }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            switch_margin: 0.1,
            turns: 64,
            domains: Default::default(),
            fallback: Mode::Unchanged,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: "info".into(),
            format: LogFormat::Json,
            otlp: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_yaml_is_the_defaults_and_names_every_setting() {
        let from_file: serde_json::Value =
            serde_yaml::from_str(super::super::DEFAULT_YAML).unwrap();
        let from_code = serde_json::to_value(Config::default()).unwrap();
        assert_eq!(from_file, from_code);
    }
}
