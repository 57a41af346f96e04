//! The checks that types cannot make: ranges, references between settings, and keys and certificates that must exist.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use tracing_subscriber::EnvFilter;

use super::{Buckets, Config, Problem, checker::Checker, unread::Unread};

impl Config {
    /// Checks the values and the files that they name. `families`: the ids that `models.X.family` may have, beside `auto`.
    /// `unread`: the settings that could not be read. What refers to them is not checked.
    pub(super) fn problems(&self, families: &[&str], unread: &Unread) -> Vec<Problem> {
        let mut checker = Checker {
            problems: Vec::new(),
            unread,
        };
        self.check_routing(&mut checker);
        self.check_limits(&mut checker);
        self.check_classifier(&mut checker);
        self.check_log(&mut checker);
        checker.tls("server.tls", self.server.tls.as_ref());
        self.check_addresses(&mut checker);
        self.check_ext_proc(&mut checker);
        self.check_auth(&mut checker);
        self.check_shared_limits(&mut checker);
        self.check_models(&mut checker, families);
        self.check_aliases(&mut checker);
        for (index, server) in self.discover.iter().enumerate() {
            checker.secret(
                format!("discover[{index}].api_key"),
                server.api_key.as_ref(),
            );
        }
        checker.problems
    }

    fn check_routing(&self, checker: &mut Checker<'_>) {
        checker.unless(
            (0.0..=1.0).contains(&self.routing.threshold),
            "routing.threshold",
            "must be between 0 and 1",
        );
        checker.unless(
            (0.0..=0.5).contains(&self.routing.switch_margin),
            "routing.switch_margin",
            "must be between 0 and 0.5",
        );
        checker.at_least_one("routing.turns", self.routing.turns);
    }

    fn check_limits(&self, checker: &mut Checker<'_>) {
        let (server, upstream) = (&self.server, &self.upstream);
        checker.at_least_one("server.max_in_flight", server.max_in_flight);
        checker.at_least_one("server.max_body_bytes", server.max_body_bytes);
        checker.unless(
            server.max_buffered_bytes >= server.max_body_bytes,
            "server.max_buffered_bytes",
            "must be at least server.max_body_bytes, or the largest body would never fit",
        );
        checker.at_least_one("server.max_connections", server.max_connections);
        for (path, value) in [
            ("server.headers_ms", server.headers_ms),
            ("server.body_idle_ms", server.body_idle_ms),
            ("server.body_ms", server.body_ms),
            ("server.write_idle_ms", server.write_idle_ms),
            ("upstream.connect_ms", upstream.connect_ms),
            ("upstream.headers_ms", upstream.headers_ms),
            ("upstream.first_chunk_ms", upstream.first_chunk_ms),
            ("upstream.idle_ms", upstream.idle_ms),
            ("upstream.open_ms", upstream.open_ms),
            ("upstream.discover_ms", upstream.discover_ms),
            ("classifier.deadline_ms", self.classifier.deadline_ms),
        ] {
            checker.unless(
                value > 0,
                path,
                "must be at least 1 millisecond; nothing waits for ever",
            );
        }
        checker.at_least_one("upstream.failures", upstream.failures);
        checker.unless(
            upstream.health_results > 0,
            "upstream.health_results",
            "must be at least 1; health_ms: 0 turns the checks off",
        );
    }

    fn check_classifier(&self, checker: &mut Checker<'_>) {
        let classifier = &self.classifier;
        checker.at_least_one("classifier.queue", classifier.queue);
        checker.unless(
            !classifier.providers.is_empty(),
            "classifier.providers",
            "must name at least one, such as cpu",
        );
        checker.unless(
            (16..=65_536).contains(&classifier.max_tokens),
            "classifier.max_tokens",
            "must be 16 to 65536",
        );
        let Some(Buckets { rows, tokens }) = &classifier.buckets else {
            return;
        };
        for (path, sizes) in [
            ("classifier.buckets.rows", rows),
            ("classifier.buckets.tokens", tokens),
        ] {
            checker.unless(
                sizes.first().is_some_and(|least| *least > 0) && sizes.is_sorted_by(|a, b| a < b),
                path,
                "must be ascending sizes, such as [1, 8, 64]",
            );
        }
    }

    fn check_log(&self, checker: &mut Checker<'_>) {
        let filter = EnvFilter::builder().parse(&self.telemetry.log);
        checker.unless(
            filter.is_ok(),
            "telemetry.log",
            "is no log filter; write a level such as info, or target=level,..",
        );
    }

    fn check_addresses(&self, checker: &mut Checker<'_>) {
        let mut taken = vec![self.listen];
        for (path, listen) in [
            ("ops.listen", self.ops.as_ref().map(|ops| ops.listen)),
            (
                "ext_proc.listen",
                self.ext_proc.as_ref().map(|ext_proc| ext_proc.listen),
            ),
        ] {
            let Some(listen) = listen else { continue };
            let is_free = listen.port() == 0
                || !taken.contains(&listen)
                || checker.unread.concerns("listen")
                || checker.unread.concerns("ops");
            checker.unless(is_free, path, "is the address of another listener already");
            taken.push(listen);
        }
    }

    fn check_ext_proc(&self, checker: &mut Checker<'_>) {
        let Some(ext_proc) = &self.ext_proc else {
            return;
        };
        checker.at_least_one("ext_proc.max_streams", ext_proc.max_streams);
        // A body above the limit must arrive, so that it can be refused with 413.
        checker.unless(
            ext_proc.max_message_bytes as u64 > self.server.max_body_bytes
                || checker.unread.concerns("server.max_body_bytes"),
            "ext_proc.max_message_bytes",
            "must be larger than server.max_body_bytes: a message holds a whole body",
        );
        checker.unless(
            !ext_proc.unguarded_paths || self.auth.keys.is_empty(),
            "ext_proc.unguarded_paths",
            "must be false beside auth.keys: what passes unguarded is checked for no model and counted for no key",
        );
        checker.tls("ext_proc.tls", ext_proc.tls.as_ref());
    }

    fn check_auth(&self, checker: &mut Checker<'_>) {
        let (mut names, mut owners) = (BTreeSet::new(), BTreeMap::new());
        for (index, key) in self.auth.keys.iter().enumerate() {
            let path = |setting: &str| format!("auth.keys[{index}].{setting}");
            match key.key.digest() {
                Err(message) => checker.problems.push(Problem::new(path("key"), message)),
                Ok(digest) => match owners.entry(digest) {
                    Entry::Vacant(free) => drop(free.insert(&key.name)),
                    Entry::Occupied(owner) => checker.problems.push(Problem::new(
                        path("key"),
                        format!("is the same key as that of `{}`", owner.get()),
                    )),
                },
            }
            checker.unless(names.insert(&key.name), path("name"), "is used twice");
            checker.unless(
                key.models.as_ref().is_none_or(|models| !models.is_empty()),
                path("models"),
                "must name at least one; leave it out for all",
            );
            checker.unless(
                key.requests_per_minute != Some(0),
                path("requests_per_minute"),
                "must be at least 1; leave it out for no limit",
            );
            checker.unless(
                key.max_in_flight != Some(0),
                path("max_in_flight"),
                "must be at least 1; leave it out for no limit of its own",
            );
        }
    }

    fn check_shared_limits(&self, checker: &mut Checker<'_>) {
        let Some(shared) = &self.auth.shared_limits else {
            return;
        };
        if let Err(message) = shared.url.reveal() {
            checker
                .problems
                .push(Problem::new("auth.shared_limits.url", message));
        }
        checker.at_least_one("auth.shared_limits.timeout_ms", shared.timeout_ms);
    }

    fn check_models(&self, checker: &mut Checker<'_>, families: &[&str]) {
        for (name, model) in &self.models {
            let path = format!("models.{name}");
            checker.unless(
                !model.endpoints.is_empty()
                    || self.ext_proc.is_some()
                    || checker.unread.concerns("ext_proc"),
                format!("{path}.endpoints"),
                "must name at least one server; only behind Envoy (ext_proc) it may name none",
            );
            checker.secret(format!("{path}.api_key"), model.api_key.as_ref());
            checker.unless(
                model.family == "auto" || families.contains(&&*model.family),
                format!("{path}.family"),
                format!(
                    "`{}` is no family; known are auto, {}",
                    model.family,
                    families.join(", ")
                ),
            );
            for (index, endpoint) in model.endpoints.iter().enumerate() {
                let path = format!("{path}.endpoints[{index}]");
                checker.at_least_one(format!("{path}.weight"), endpoint.weight);
                checker.secret(format!("{path}.api_key"), endpoint.api_key.as_ref());
            }
        }
    }

    fn check_aliases(&self, checker: &mut Checker<'_>) {
        for (name, alias) in &self.aliases {
            let path = format!("aliases.{name}");
            checker.unless(
                !self.models.contains_key(name),
                path.as_str(),
                "is the name of a model already",
            );
            for (mode, target) in [
                ("reasoning", &alias.reasoning),
                ("direct", &alias.direct),
                ("unchanged", &alias.unchanged),
            ] {
                // A discovered server may add the model later.
                let exists = self.models.contains_key(target)
                    || !self.discover.is_empty()
                    || checker.unread.concerns("discover")
                    || checker.unread.concerns(&format!("models.{target}"));
                let known = self.models.keys().cloned().collect::<Vec<_>>().join(", ");
                checker.unless(
                    exists,
                    format!("{path}.{mode}"),
                    format!("`{target}` is no model; there are: {known}"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(yaml: &str) -> Vec<String> {
        Config::from_yaml(yaml)
            .unwrap()
            .problems(&["qwen3"], &Unread::default())
            .into_iter()
            .map(|problem| problem.path)
            .collect()
    }

    #[test]
    fn every_reference_and_range_is_checked() {
        let yaml = "
routing: { threshold: 1.5, switch_margin: 0.6, turns: 0 }
server: { max_buffered_bytes: 31MiB, max_connections: 0, write_idle_ms: 0 }
upstream: { idle_ms: 0 }
telemetry: { log: 'a=b=c' }
auth: { keys: [{ name: a, key: 'env:THINKGATE_NO_SUCH' }] }
models:
  m: { family: qwen4, endpoints: [] }
  n: { endpoints: [{ url: 'http://h', weight: 0 }] }
aliases:
  m: { reasoning: n, direct: n, unchanged: n }
  x: { reasoning: n, direct: gone, unchanged: n }
";
        assert_eq!(
            paths(yaml),
            [
                "routing.threshold",
                "routing.switch_margin",
                "routing.turns",
                "server.max_buffered_bytes",
                "server.max_connections",
                "server.write_idle_ms",
                "upstream.idle_ms",
                "telemetry.log",
                "auth.keys[0].key",
                "models.m.endpoints",
                "models.m.family",
                "models.n.endpoints[0].weight",
                "aliases.m",
                "aliases.x.direct"
            ]
        );
    }

    #[test]
    fn behind_envoy_a_model_may_have_no_endpoints_and_a_body_must_fit_a_message() {
        let with_ext_proc = |more: &str| {
            paths(&format!(
                "{{models: {{m: {{}}}}, listen: '127.0.0.1:1', ext_proc: {{listen: '127.0.0.1:2'{more}}}}}"
            ))
        };
        assert_eq!(paths("{models: {m: {}}}"), ["models.m.endpoints"]);
        assert!(with_ext_proc("").is_empty());
        assert_eq!(with_ext_proc(", max_streams: 0"), ["ext_proc.max_streams"]);
        assert_eq!(
            with_ext_proc(", max_message_bytes: 1000"),
            ["ext_proc.max_message_bytes"]
        );
        assert!(with_ext_proc(", unguarded_paths: true").is_empty());
        let key = format!(
            ", unguarded_paths: true}}, auth: {{keys: [{{name: a, key: 'sha256:{}'}}]",
            "0".repeat(64)
        );
        assert_eq!(with_ext_proc(&key), ["ext_proc.unguarded_paths"]);
        assert_eq!(
            with_ext_proc(", tls: {cert: no/such.crt, key: no/such.key}"),
            ["ext_proc.tls.cert", "ext_proc.tls.key"]
        );
    }

    #[test]
    fn a_problem_with_a_key_names_the_setting_and_does_not_repeat_the_key() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of `test`
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "test\n").unwrap();
        let yaml = format!(
            "
auth:
  keys:
    - {{ name: a, key: 'sha256:{hex}', models: [m], requests_per_minute: 1 }}
    - {{ name: a, key: 'sha256:{}' }}
    - {{ name: b, key: 'file:{}', models: [], requests_per_minute: 0, max_in_flight: 0 }}
models:
  m: {{ api_key: 'sha256:{hex}', endpoints: [{{ url: 'http://h', api_key: 'sha256:{hex}' }}] }}
discover: [{{ url: 'http://h', api_key: 'sha256:{hex}' }}]
",
            hex.replace('9', "8"),
            file.path().display()
        );
        let problems = Config::from_yaml(&yaml)
            .unwrap()
            .problems(&[], &Unread::default());
        let paths: Vec<&str> = problems.iter().map(|problem| &*problem.path).collect();
        assert_eq!(
            paths,
            [
                "auth.keys[1].name",
                "auth.keys[2].key",
                "auth.keys[2].models",
                "auth.keys[2].requests_per_minute",
                "auth.keys[2].max_in_flight",
                "models.m.api_key",
                "models.m.endpoints[0].api_key",
                "discover[0].api_key",
            ]
        );
        let text: String = problems.iter().map(ToString::to_string).collect();
        assert!(
            text.contains("the same key as that of `a`") && !text.contains("9f86"),
            "{text}"
        );
    }

    #[test]
    fn a_family_is_auto_or_one_of_those_known() {
        let problems = |family: &str| {
            let yaml = format!(
                "{{models: {{m: {{family: {family}, endpoints: [{{url: 'http://h'}}]}}}}}}"
            );
            let config = Config::from_yaml(&yaml).unwrap();
            let problems = config
                .problems(&["qwen3", "glm"], &Unread::default())
                .into_iter();
            problems
                .map(|problem| problem.to_string())
                .collect::<Vec<_>>()
        };
        assert!(problems("auto").is_empty() && problems("glm").is_empty());
        assert_eq!(
            problems("qwen4"),
            ["models.m.family: `qwen4` is no family; known are auto, qwen3, glm"]
        );
    }

    #[test]
    fn the_defaults_have_no_problems() {
        assert!(
            Config::default()
                .problems(&[], &Unread::default())
                .is_empty()
        );
    }
}
