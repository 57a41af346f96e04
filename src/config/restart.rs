//! Which settings need a restart, and which files belong to the configuration.

use std::path::PathBuf;

use serde_json::Value;

use super::{Config, Secret, Tls, problem::is_within};

/// The sections that a reload cannot change, because sockets, the classifier and logging are built once at the start.
const RESTART_ONLY: [&str; 9] = [
    "listen",
    "ops",
    "ext_proc",
    "server.headers_ms",
    "server.max_connections",
    "server.write_idle_ms",
    "server.tls",
    "classifier",
    "telemetry",
];

impl Config {
    /// The paths of the settings that differ in `other` and need a restart.
    pub fn needs_restart(&self, other: &Self) -> Vec<String> {
        let mut changed = Vec::new();
        let values = |config: &Self| serde_json::to_value(config).unwrap_or_default(); // plain data
        differences("", &values(self), &values(other), &mut changed);
        // A certificate may move to other files; TLS as such cannot be turned on or off.
        let is_certificate = |path: &str| path.ends_with("tls.cert") || path.ends_with("tls.key");
        changed.retain(|path| {
            let mut sections = RESTART_ONLY.iter();
            !is_certificate(path) && sections.any(|section| is_within(path, section, &["."]))
        });
        changed
    }

    /// The files of keys and certificates that the configuration names.
    pub fn files(&self) -> Vec<PathBuf> {
        let ext_proc = self.ext_proc.as_ref();
        let ext_proc = ext_proc.and_then(|ext_proc| ext_proc.tls.as_ref());
        let certificates = [self.server.tls.as_ref(), ext_proc].into_iter().flatten();
        let certificates = certificates.flat_map(|Tls { cert, key }| [cert.clone(), key.clone()]);
        let in_files = self.secrets().filter_map(|secret| match secret {
            Secret::File(path) => Some(PathBuf::from(path)),
            Secret::Env(_) | Secret::Sha256(_) => None,
        });
        certificates.chain(in_files).collect()
    }

    /// Every reference to a key or a password.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let of_endpoints = self.models.values().flat_map(|model| {
            let endpoints = model.endpoints.iter();
            endpoints
                .filter_map(|endpoint| endpoint.api_key.as_ref())
                .chain(&model.api_key)
        });
        let of_servers = self
            .discover
            .iter()
            .filter_map(|server| server.api_key.as_ref());
        let of_clients = self.auth.keys.iter().map(|key| &key.key);
        let shared_limits = self.auth.shared_limits.as_ref();
        let of_store = shared_limits.and_then(|shared| shared.url.secret());
        of_clients
            .chain(of_store)
            .chain(of_servers)
            .chain(of_endpoints)
    }
}

/// The paths of the leaves at which two values differ.
fn differences(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one
                .keys()
                .chain(other.keys().filter(|key| !one.contains_key(*key)));
            for key in keys {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                let value =
                    |object: &serde_json::Map<_, _>| object.get(key).cloned().unwrap_or_default();
                differences(&path, &value(one), &value(other), found);
            }
        }
        _ if one != other => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart(before: &str, after: &str) -> Vec<String> {
        let config = |text| Config::from_yaml(text).unwrap();
        config(before).needs_restart(&config(after))
    }

    #[test]
    fn a_setting_that_needs_a_restart_is_named_by_its_path() {
        assert_eq!(
            restart(
                "{}",
                "{listen: '127.0.0.1:1', classifier: {threads: 3, queue: 5}}"
            ),
            ["listen", "classifier.threads", "classifier.queue"]
        );
        assert_eq!(restart("{}", "{ops: {listen: '127.0.0.1:1'}}"), ["ops"]);
        assert_eq!(
            restart(
                "{}",
                "{server: {headers_ms: 1, body_ms: 1, write_idle_ms: 1}}"
            ),
            ["server.headers_ms", "server.write_idle_ms"]
        );
        let with = "{server: {tls: {cert: a, key: b}}}";
        assert_eq!(restart("{}", with), ["server.tls"]);
        assert!(restart(with, "{server: {tls: {cert: c, key: d}}}").is_empty());
    }

    #[test]
    fn settings_of_requests_need_no_restart() {
        let after = "{models: {m: {endpoints: [{url: 'http://a'}]}}, routing: {threshold: 0.7},
                      server: {max_in_flight: 3, max_buffered_bytes: 64MiB, trusted_proxies: [10.0.0.0/8], cors: ['*']}, upstream: {retries: 0}, auth: {keys: [{name: a, key: 'env:A'}]}}";
        assert!(restart("{}", after).is_empty());
    }

    #[test]
    fn files_of_keys_and_certificates_belong_to_the_configuration() {
        let config = Config::from_yaml(
            "{server: {tls: {cert: c, key: k}}, auth: {keys: [{name: a, key: 'file:/a'}, {name: b, key: 'env:B'}], shared_limits: {url: 'file:/s'}},
              models: {m: {api_key: 'file:/m', endpoints: [{url: 'http://a', api_key: 'file:/e'}]}}}",
        )
        .unwrap();
        let files: Vec<String> = config
            .files()
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        assert_eq!(files, ["c", "k", "/a", "/s", "/e", "/m"]);
    }
}
