//! Reads the configuration and reports every problem, not the first.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Source,
    providers::{Env, Format, Serialized, Yaml},
};
use serde::Deserialize;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{BaseUrl, Config, Secret};

/// What the command line sets.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`, later ones win.
    pub files: Vec<PathBuf>,
    /// `--upstream`: servers to discover.
    pub upstreams: Vec<String>,
    /// `--upstream-key`, for all of them.
    pub upstream_key: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the setting, such as `models.qwen3.endpoints[0].url`, or the file or flag.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Reads defaults, files, environment and flags, in this order, and checks the result.
///
/// # Errors
/// Every problem found, in the order of the settings.
pub fn load(flags: &Flags) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut figment = Figment::new();
    for file in &flags.files {
        match readable(file) {
            Ok(()) => figment = figment.merge(Yaml::file_exact(file)),
            Err(problem) => problems.push(problem),
        }
    }
    figment = figment.merge(environment(&mut problems));
    if let Some(listen) = &flags.listen {
        figment = figment.merge(Serialized::default("listen", listen));
    }
    let written = figment.extract::<Value>().unwrap_or_else(|error| {
        problems.push(Problem::new("configuration", error.to_string()));
        Value::Object(Default::default())
    });
    let mut config = typed(written, &figment, &mut problems);
    add_upstreams(&mut config, flags, &mut problems);
    problems.extend(config.problems());
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

/// A variable is ours when it is `THINKGATE_LISTEN` or has `__` between levels; Kubernetes sets others of our prefix for a
/// service of our name (`THINKGATE_PORT`, `THINKGATE_SERVICE_HOST`).
fn environment(problems: &mut Vec<Problem>) -> Env {
    const FILES_ONLY: [&str; 4] = ["models", "aliases", "discover", "routing__domains"];
    let ours = |key: &str| key.eq_ignore_ascii_case("listen") || key.contains("__");
    let files_only = |key: &str| {
        let key = key.to_ascii_lowercase();
        let below = |section: &&str| {
            key.strip_prefix(section)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("__"))
        };
        FILES_ONLY.iter().any(below)
    };
    let env = Env::prefixed("THINKGATE_").filter(move |key| ours(key.as_str()));
    let misplaced = env.iter().filter(|(key, _)| files_only(key.as_str()));
    problems.extend(
        misplaced
            .map(|(key, _)| Problem::new(format!("THINKGATE_{key}"), "can be set in a file only")),
    );
    env.filter(move |key| !files_only(key.as_str())).split("__")
}

fn readable(file: &Path) -> Result<(), Problem> {
    let problem = |message: String| Err(Problem::new(file.display().to_string(), message));
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return problem(format!("cannot be read: {error}")),
    };
    match serde_yaml::from_str::<serde_yaml::Value>(&text) {
        Ok(serde_yaml::Value::Mapping(_)) => Ok(()),
        Ok(serde_yaml::Value::Null) => problem("is empty".into()),
        Ok(_) => problem("must be a mapping of settings".into()),
        Err(error) => problem(format!("is not YAML: {error}")),
    }
}

/// Gives the written values their types. A value that does not fit is reported and left out, and the rest is read again: five
/// mistakes give five lines.
fn typed(mut written: Value, figment: &Figment, problems: &mut Vec<Problem>) -> Config {
    loop {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(&written, &mut track);
        let read = serde_ignored::deserialize(deserializer, |path| unknown.push(dotted(&path)));
        match read {
            Ok(config) => {
                let unknown = unknown
                    .into_iter()
                    .map(|path| (path, "is no setting; see configs/default.yaml".to_owned()));
                problems.extend(unknown.map(|(path, message)| located(path, message, figment)));
                return config;
            }
            Err(error) => {
                let path = track.path();
                problems.push(located(path.to_string(), error.to_string(), figment));
                let keys: Vec<&Segment> = path.iter().collect();
                if !remove(&mut written, &keys) {
                    return Config::default(); // nothing left to leave out; the problem is reported
                }
            }
        }
    }
}

fn dotted(path: &serde_ignored::Path<'_>) -> String {
    let path = path.to_string().replace(".?", ""); // `?` stands for the inside of an Option
    match path.is_empty() {
        true => "\"\"".into(), // a key without a name
        false => path,
    }
}

/// Says which file or variable a value came from.
fn located(path: String, message: String, figment: &Figment) -> Problem {
    let source = |metadata: &Metadata| match &metadata.source {
        Some(Source::Code(_)) => " (on the command line)".to_owned(),
        Some(source) => format!(" (in {source})"),
        None => format!(" (in the {})", metadata.name),
    };
    let place = figment.find_metadata(&path).map(source).unwrap_or_default();
    Problem {
        path,
        message: format!("{message}{place}"),
    }
}

/// Takes the value at `path` out of `value`; false when there is none.
fn remove(value: &mut Value, path: &[&Segment]) -> bool {
    match (path, value) {
        ([Segment::Map { key }], Value::Object(map)) => map.remove(key).is_some(),
        ([Segment::Seq { index }], Value::Array(list)) if *index < list.len() => {
            list.remove(*index);
            true
        }
        // When there is nothing to remove inside, a required field is missing: the whole entry goes.
        ([Segment::Map { key }, rest @ ..], Value::Object(map)) => {
            map.get_mut(key).is_some_and(|inner| remove(inner, rest)) || map.remove(key).is_some()
        }
        ([Segment::Seq { index }, rest @ ..], Value::Array(list)) if *index < list.len() => {
            if !remove(&mut list[*index], rest) {
                list.remove(*index);
            }
            true
        }
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
    /// Reads a configuration from YAML alone, without the environment; for embedding and tests.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn from_yaml(text: &str) -> Result<Self, serde_yaml::Error> {
        Self::deserialize(serde_yaml::Deserializer::from_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "listen: ",
            "server.max_in_flight: ",
            "server.drain: ",
            "upstream.retries: ",
            "models.a.endpoints[0].url: ",
        ] {
            assert_eq!(starts(path), 1, "{path} in {problems:#?}");
        }
        assert_eq!(
            problems
                .iter()
                .filter(|problem| problem.contains("modle"))
                .count(),
            1,
            "{problems:#?}"
        );
        assert!(problems[0].contains(".yaml"), "{problems:#?}");
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

    #[test]
    fn a_setting_without_a_name_is_still_said_to_be_somewhere() {
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
