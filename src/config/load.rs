//! Reads the configuration from its sources and collects every problem.

use std::path::PathBuf;

use figment::{
    Figment,
    providers::{Env, Serialized},
};
use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    BaseUrl, Config, Problem, Problems, Secret,
    problem::is_within,
    provenance::{RemovedIndices, may_hold_keys, source, unknown_setting},
    serde_messages::in_plain_words,
    yaml_file::YamlFile,
};

/// The settings of the command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`: files; later ones win.
    pub files: Vec<PathBuf>,
    /// `--upstream`: servers that are added to `discover`.
    pub upstreams: Vec<String>,
    /// `--upstream-key`: the key for all of these servers.
    pub upstream_key: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
}

/// A configuration that was read, with its problems.
#[derive(Debug)]
pub struct ParsedConfig {
    /// The configuration. A setting with a value of the wrong type has its default.
    pub config: Config,
    /// False if a file could not be read. Then settings may be missing that the file has.
    pub is_complete: bool,
    problems: Problems,
    families: Vec<&'static str>,
    removed: RemovedIndices,
    figment: Figment,
}

/// Reads defaults, files, environment and flags, in this order. `families`: the ids that `models.X.family` may have, beside `auto`.
///
/// Certificates and keys, which the configuration names, are opened when it is validated.
pub fn read(flags: &Flags, families: &[&'static str]) -> ParsedConfig {
    let mut problems = Vec::new();
    let mut figment = Figment::new();
    for file in &flags.files {
        match YamlFile::read(file) {
            Ok(file) => figment = figment.merge(file),
            Err(problem) => problems.push(problem),
        }
    }
    let mut is_complete = problems.is_empty();
    figment = figment.merge(environment(&mut problems));
    if let Some(listen) = &flags.listen {
        figment = figment.merge(Serialized::default("listen", listen));
    }
    let values = figment.extract::<Value>().unwrap_or_else(|error| {
        is_complete = false;
        problems.push(Problem::new("configuration", error.to_string()));
        Value::Object(Default::default())
    });
    let mut removed = RemovedIndices::default();
    let mut config = deserialize(values, &figment, &mut removed, &mut problems);
    add_upstreams(&mut config, flags, &mut problems);
    ParsedConfig {
        config,
        is_complete,
        problems: Problems(problems),
        families: families.to_vec(),
        removed,
        figment,
    }
}

impl ParsedConfig {
    /// Returns the configuration if it has no problems.
    ///
    /// # Errors
    /// Every problem, as [`ParsedConfig::problems`] finds them.
    pub fn validated(self) -> Result<Config, Problems> {
        let problems = self.problems();
        match problems.0.is_empty() {
            true => Ok(self.config),
            false => Err(problems),
        }
    }

    /// Every problem: values of the wrong type, values out of range, and files that cannot be read.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems(self.problems.0.clone());
        let invalid = self.config.problems(&self.families).into_iter();
        problems.0.extend(invalid.map(|problem| {
            let path = self.removed.path_in_file(&problem.path);
            with_source(path, problem.message, &self.figment)
        }));
        problems
    }
}

/// The settings of the environment: `THINKGATE_LISTEN`, and names with `__` between levels. Kubernetes sets other variables with
/// our prefix for a service that is called `thinkgate` (`THINKGATE_PORT`, `THINKGATE_SERVICE_HOST`).
fn environment(problems: &mut Vec<Problem>) -> Env {
    const FILES_ONLY: [&str; 4] = ["models", "aliases", "discover", "routing__domains"];
    let ours = |key: &str| key.eq_ignore_ascii_case("listen") || key.contains("__");
    let files_only = |key: &str| {
        let key = key.to_ascii_lowercase();
        let mut sections = FILES_ONLY.iter();
        sections.any(|section| is_within(&key, section, &["__"]))
    };
    let env = Env::prefixed("THINKGATE_").filter(move |key| ours(key.as_str()));
    let misplaced = env.iter().filter(|(key, _)| files_only(key.as_str()));
    problems.extend(
        misplaced
            .map(|(key, _)| Problem::new(format!("THINKGATE_{key}"), "can be set in a file only")),
    );
    env.filter(move |key| !files_only(key.as_str())).split("__")
}

/// Deserializes the values. A value that does not fit is reported and removed, and the rest is deserialized again, so that five
/// mistakes give five lines.
fn deserialize(
    mut values: Value,
    figment: &Figment,
    removed: &mut RemovedIndices,
    problems: &mut Vec<Problem>,
) -> Config {
    loop {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(&values, &mut track);
        let read =
            serde_ignored::deserialize(deserializer, |path| unknown.push(unknown_setting(&path)));
        match read {
            Ok(config) => {
                problems.extend(unknown.into_iter().map(|(path, message)| {
                    with_source(removed.path_in_file(&path), message.into(), figment)
                }));
                return config;
            }
            Err(error) => {
                let path = track.path();
                let path_in_file = removed.path_in_file(&path.to_string());
                let message = in_plain_words(&error.to_string(), may_hold_keys(&path_in_file));
                // A required field that was removed above is missing now; it has its problem already.
                let is_known = |known: &Problem| {
                    let field = known.path.strip_prefix(&*path_in_file);
                    let field = field.and_then(|field| field.strip_prefix('.'));
                    field.is_some_and(|field| message == format!("`{field}` is missing"))
                };
                if !problems.iter().any(is_known) {
                    problems.push(with_source(path_in_file, message, figment));
                }
                let keys: Vec<&Segment> = path.iter().collect();
                if !remove(&mut values, &keys, removed) {
                    return Config::default(); // nothing is left to remove; the problem is reported
                }
            }
        }
    }
}

/// A problem that names the file or variable where the value was set.
fn with_source(path: String, message: String, figment: &Figment) -> Problem {
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

fn add_upstreams(config: &mut Config, flags: &Flags, problems: &mut Vec<Problem>) {
    let key = flags
        .upstream_key
        .as_deref()
        .map(Secret::parse)
        .transpose()
        .unwrap_or_else(|message| {
            problems.push(Problem::new("--upstream-key", message));
            None
        });
    if key.is_some() && flags.upstreams.is_empty() {
        problems.push(Problem::new("--upstream-key", "needs --upstream"));
    }
    for url in &flags.upstreams {
        match BaseUrl::parse(url) {
            Ok(url) => config.discover.push(super::Discover {
                url,
                api_key: key.clone(),
            }),
            Err(message) => problems.push(Problem::new("--upstream", message)),
        }
    }
}

impl Config {
    /// Parses a configuration from YAML alone, without the environment and without validation. For embedding and tests.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn from_yaml(text: &str) -> Result<Self, serde_yaml::Error> {
        Self::deserialize(serde_yaml::Deserializer::from_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &Flags) -> Result<Config, Vec<Problem>> {
        read(flags, &[]).validated().map_err(|problems| problems.0)
    }

    fn load_text(text: &str) -> Result<Config, Vec<String>> {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), text).unwrap();
        load(&Flags {
            files: vec![file.path().into()],
            ..Flags::default()
        })
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn five_mistakes_in_four_sections_give_five_lines() {
        let problems = load_text(
            "listen: nowhere\n\
             server: { max_in_flight: lots, drain: 5 }\n\
             upstream: { retries: -1 }\n\
             models: { a: { endpoints: [{ url: 'vllm:8000' }] }, b: { endpoints: [{ url: 'http://h', modle: x }] } }\n",
        )
        .unwrap_err();
        let starts = |path: &str| {
            problems
                .iter()
                .filter(|problem| problem.starts_with(path))
                .count()
        };
        for path in [
            "listen: expected an address",
            "server.max_in_flight: ",
            "server.drain: ",
            "upstream.retries: ",
            "models.a.endpoints[0].url: ",
        ] {
            assert_eq!(starts(path), 1, "{path} in {problems:#?}");
        }
        assert_eq!(starts("models.b.endpoints[0].modle: "), 1, "{problems:#?}");
        assert!(
            problems.iter().all(|problem| problem.contains(".yaml)")),
            "{problems:#?}"
        );
    }

    #[test]
    fn every_problem_names_its_file_and_its_own_index_in_a_list() {
        let problems = load_text(
            "routing: { threshold: 2 }\n\
             models: { m: { endpoints: [{ url: x }, { url: 'http://h', weight: 0 }, { weight: 1 }, { url: 'http://h', weight: a }, { url: 'http://h', w: 1 }] } }\n",
        )
        .unwrap_err();
        for path in [
            "routing.threshold: ",
            "models.m.endpoints[0].url: ",
            "models.m.endpoints[1].weight: ",
            "models.m.endpoints[2]: `url` is missing",
            "models.m.endpoints[3].weight: expected a whole number",
            "models.m.endpoints[4].w: ",
        ] {
            let found = problems.iter().find(|problem| problem.starts_with(path));
            let found = found.unwrap_or_else(|| panic!("{path} in {problems:#?}"));
            assert!(found.contains(".yaml)"), "{found}");
        }
        assert_eq!(problems.len(), 6, "{problems:#?}");
    }

    #[test]
    fn empty_missing_and_broken_files_are_problems() {
        assert!(load_text("").unwrap_err()[0].contains("is empty"));
        assert!(load_text("a: [").unwrap_err()[0].contains("is not YAML"));
        assert!(load_text("- a").unwrap_err()[0].contains("mapping"));
        let missing = load(&Flags {
            files: vec!["no/such.yaml".into()],
            ..Flags::default()
        })
        .unwrap_err();
        assert!(
            missing[0]
                .to_string()
                .starts_with("no/such.yaml: cannot be read")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_can_be_read_once_is_a_configuration_too() {
        use std::os::fd::AsRawFd;

        let (from, mut to) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut to, b"routing: { threshold: 0.125, x: 1 }").unwrap();
        drop(to);
        let flags = Flags {
            files: vec![format!("/dev/fd/{}", from.as_raw_fd()).into()],
            ..Flags::default()
        };
        let parsed = read(&flags, &[]);
        assert_eq!(parsed.config.routing.threshold, 0.125);
        let problems: Vec<String> = parsed
            .problems()
            .0
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(
            problems[0].contains("routing.x") && problems[0].contains("/dev/fd/"),
            "{problems:#?}"
        );
    }

    #[test]
    fn a_setting_without_a_name_still_has_a_path() {
        let problems = load_text("\"\": 1").unwrap_err();
        assert!(
            problems[0].starts_with("\"\": is no setting"),
            "{problems:#?}"
        );
    }

    #[test]
    fn flags_are_problems_by_their_names() {
        let flags = Flags {
            upstreams: vec!["vllm".into()],
            upstream_key: Some("sk-secret".into()),
            listen: Some("x".into()),
            ..Flags::default()
        };
        let problems: Vec<String> = load(&flags)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(problems.len(), 3, "{problems:#?}");
        assert!(
            problems[0].ends_with("(on the command line)"),
            "{problems:#?}"
        );
        assert!(!problems.concat().contains("sk-secret"));
    }

    #[test]
    fn a_missing_required_field_is_one_line() {
        let problems =
            load_text("aliases: { a: { direct: b } }\nrouting: { threshold: high }").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems.iter().any(|problem| problem.contains("reasoning")));
    }
}
