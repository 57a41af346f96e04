//! Turns the values of all sources into a configuration, and finds every value that does not fit.

use figment::Figment;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    Config, Problem,
    provenance::{RemovedIndices, may_hold_keys, source, unknown_setting},
    serde_messages::in_plain_words,
    unread::Unread,
};

/// The most problems that are reported: nobody reads more, and each takes time to find its place.
pub const MAX_PROBLEMS: usize = 100;

/// Turns values into a configuration, and collects the problems.
pub struct Reader<'f> {
    /// Where the values were set.
    pub figment: &'f Figment,
    /// The list elements that were removed.
    pub removed: RemovedIndices,
    /// What could not be read.
    pub unread: Unread,
    /// The problems so far.
    pub problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Deserializes the values. A value that does not fit is reported and removed, and the rest is deserialized again, so that five
    /// mistakes give five lines.
    pub fn deserialize(&mut self, mut values: Value) -> Config {
        loop {
            let mut unknown = Vec::new();
            let mut track = serde_path_to_error::Track::new();
            let deserializer = serde_path_to_error::Deserializer::new(&values, &mut track);
            let read = serde_ignored::deserialize(deserializer, |path| {
                if unknown.len() < MAX_PROBLEMS {
                    unknown.push(unknown_setting(&path));
                }
            });
            match read {
                Ok(config) => {
                    for (path, message) in unknown {
                        let path = self.removed.path_in_file(&path);
                        self.report(path, message);
                    }
                    return config;
                }
                Err(error) => {
                    let path = track.path();
                    self.report_misfit(&path.to_string(), &error.to_string());
                    let keys: Vec<&Segment> = path.iter().collect();
                    let may_go_on = self.problems.len() < MAX_PROBLEMS;
                    if !may_go_on || !remove(&mut values, &keys, &mut self.removed) {
                        self.unread.everything();
                        return Config::default();
                    }
                }
            }
        }
    }

    /// Reports a value that does not fit, which is removed next.
    fn report_misfit(&mut self, path: &str, message: &str) {
        let path = self.removed.path_in_file(path);
        let message = in_plain_words(message, may_hold_keys(&path));
        // A required field that was removed above is missing now, and a placeholder fits nowhere; both have their problem already.
        let is_known = |known: &Problem| {
            let field = known.path.strip_prefix(&*path);
            let field = field.and_then(|field| field.strip_prefix('.'));
            known.path == path
                || field.is_some_and(|field| message == format!("`{field}` is missing"))
        };
        if !self.problems.iter().any(is_known) {
            self.report(path.clone(), message);
        }
        self.unread.add(path);
    }

    /// Reports every `${NAME}` in a value: nothing replaces it here, as a shell or Compose would.
    pub fn refuse_placeholders(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(text) if has_placeholder(text) => {
                let message = "`${..}` is not replaced here; a key is named as env:NAME, and any other setting can be a variable of its \
                               own, THINKGATE_ and the path with __ between its levels";
                self.report(path.to_owned(), message.into());
                self.unread.add(path.to_owned());
            }
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    self.refuse_placeholders(&format!("{path}[{index}]"), value);
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    let path = match path {
                        "" => key.clone(),
                        path => format!("{path}.{key}"),
                    };
                    self.refuse_placeholders(&path, value);
                }
            }
            _ => {}
        }
    }

    fn report(&mut self, path: String, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(with_source(path, message, self.figment));
        }
    }
}

/// True for a text with `${NAME}` in it.
fn has_placeholder(text: &str) -> bool {
    let mut after = text.split("${").skip(1);
    after.any(|rest| {
        let name = rest.split(['}', ':', '-', '?']).next().unwrap_or_default();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(is_name) && rest.contains('}')
    })
}

/// A problem that names the file or variable where the value was set.
pub fn with_source(path: String, message: String, figment: &Figment) -> Problem {
    let message = message + &source(&path, figment);
    Problem { path, message }
}

/// Removes the value at `path`. If there is no value, a required field is missing, and the entry around it is removed. Returns
/// false if there is nothing to remove.
fn remove(values: &mut Value, path: &[&Segment], removed: &mut RemovedIndices) -> bool {
    let length = (1..=path.len()).rev().find(|length| {
        let (path, _) = path.split_at(*length);
        remove_one(values, path)
    });
    if let Some(length) = length {
        removed.record(path.split_at(length).0);
    }
    length.is_some()
}

fn remove_one(value: &mut Value, path: &[&Segment]) -> bool {
    match (path, value) {
        ([Segment::Map { key }], Value::Object(map)) => map.remove(key).is_some(),
        ([Segment::Seq { index }], Value::Array(list)) if *index < list.len() => {
            list.remove(*index);
            true
        }
        ([Segment::Map { key }, rest @ ..], Value::Object(map)) => map
            .get_mut(key)
            .is_some_and(|inner| remove_one(inner, rest)),
        ([Segment::Seq { index }, rest @ ..], Value::Array(list)) => list
            .get_mut(*index)
            .is_some_and(|inner| remove_one(inner, rest)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Flags,
            load::tests::{load, load_text},
        },
        *,
    };

    #[test]
    fn a_problem_that_follows_from_another_is_not_reported() {
        for (yaml, path) in [
            (
                "models: { m: { endpoints: [{ url: 'vllm:8000' }] } }",
                "models.m.endpoints[0].url",
            ),
            (
                "models: { m: { endpoints: [{ ulr: 'http://h' }] } }",
                "models.m.endpoints[0]",
            ),
            ("models: { m: { endpoints: 5 } }", "models.m.endpoints"),
            (
                "models: { m: 5 }\naliases: { a: { reasoning: m, direct: m, unchanged: m } }",
                "models.m",
            ),
            (
                "models: [m]\naliases: { a: { reasoning: m, direct: m, unchanged: m } }",
                "models",
            ),
            (
                "discover: [{ url: x }]\naliases: { a: { reasoning: m, direct: m, unchanged: m } }",
                "discover[0].url",
            ),
            (
                "ext_proc: { listen: x }\nmodels: { m: {} }",
                "ext_proc.listen",
            ),
            ("listen: x\nops: { listen: '127.0.0.1:8080' }", "listen"),
            (
                "server: { max_body_bytes: x }\next_proc: { listen: '127.0.0.1:1', max_message_bytes: 1000 }",
                "server.max_body_bytes",
            ),
        ] {
            let problems = load_text(yaml).unwrap_err();
            assert_eq!(problems.len(), 1, "{yaml}: {problems:#?}");
            assert!(
                problems[0].starts_with(&format!("{path}: ")),
                "{problems:#?}"
            );
        }
        // A missing file may have the models.
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(
            file.path(),
            "aliases: { a: { reasoning: m, direct: m, unchanged: m } }",
        )
        .unwrap();
        let files = vec!["no/such.yaml".into(), file.path().into()];
        let problems = load(&Flags {
            files,
            ..Flags::default()
        })
        .unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        // Problems side by side are all reported.
        let problems =
            load_text("models: { m: { family: x, endpoints: [{ url: y }] }, n: {} }").unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:#?}");
    }

    #[test]
    fn an_unknown_setting_says_what_was_meant() {
        for (yaml, says) in [
            (
                "server: { max_inflight: 1 }",
                "server.max_inflight: is no setting; did you mean `max_in_flight`?",
            ),
            (
                "max_in_flight: 1",
                "max_in_flight: is no setting; did you mean `server.max_in_flight`?",
            ),
            (
                "models: { m: { endpoints: [{ url: 'http://h', wieght: 1 }] } }",
                "models.m.endpoints[0].wieght: is no setting; did you mean `weight`?",
            ),
            (
                "server: { colour: 1 }",
                "server.colour: is no setting; see configs/default.yaml",
            ),
        ] {
            let problems = load_text(yaml).unwrap_err();
            assert!(problems[0].starts_with(says), "{problems:#?}");
        }
        let problems =
            load_text("auth: { keys: [{ name: a, key: 'env:HOME', modles: [x] }] }").unwrap_err();
        assert!(
            problems[0].contains("auth.keys[0]: ")
                && problems[0].contains("did you mean `models`?"),
            "{problems:#?}"
        );
    }

    #[test]
    fn a_placeholder_is_a_problem_that_names_what_to_write_instead() {
        for (yaml, path) in [
            (
                "auth: { keys: [{ name: a, key: '${ALICE_KEY}' }] }",
                "auth.keys[0].key",
            ),
            ("listen: '${HOST}:8080'", "listen"),
            (
                "models: { m: { endpoints: [{ url: 'http://${HOST:-vllm}:8000' }] } }",
                "models.m.endpoints[0].url",
            ),
            ("telemetry: { log: '${LOG}' }", "telemetry.log"),
        ] {
            let problems = load_text(yaml).unwrap_err();
            assert_eq!(problems.len(), 1, "{yaml}: {problems:#?}");
            assert!(
                problems[0].starts_with(&format!("{path}: ")) && problems[0].contains("env:NAME"),
                "{problems:#?}"
            );
        }
        assert!(
            load_text("routing: { domains: { '${a}': direct } }\ntelemetry: { log: 'info' }")
                .is_ok()
        );
    }

    #[test]
    fn a_file_with_thousands_of_mistakes_or_of_brackets_is_refused_at_once() {
        let began = std::time::Instant::now();
        let unknown = (0..20_000).fold(String::new(), |text, index| format!("{text}k{index}: 1\n"));
        let wrong = (0..5_000).fold("models:\n".to_owned(), |text, index| {
            format!("{text}  k{index}: 1\n")
        });
        for text in [
            &unknown,
            &wrong,
            &"[".repeat(100_000),
            &format!("a: {}", "{".repeat(100_000)),
        ] {
            let problems = load_text(text).unwrap_err();
            assert!(problems.len() <= MAX_PROBLEMS, "{}", problems.len());
        }
        assert!(
            began.elapsed() < std::time::Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
    }
}
