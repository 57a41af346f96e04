//! Reads the configuration from its sources and collects every problem.

use std::path::PathBuf;

use figment::{Figment, providers::Serialized};
use serde::Deserialize;
use serde_json::Value;

use super::{
    BaseUrl, Config, Problem, Problems, Secret,
    environment::environment,
    provenance::RemovedIndices,
    reader::{MAX_PROBLEMS, Reader, with_source},
    unread::Unread,
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
    unread: Unread,
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
    let mut reader = Reader {
        figment: &figment,
        removed: RemovedIndices::default(),
        unread: Unread::default(),
        problems,
    };
    reader.refuse_placeholders("", &values);
    let mut config = reader.deserialize(values);
    let Reader {
        removed,
        mut unread,
        mut problems,
        ..
    } = reader;
    if !is_complete {
        unread.everything();
    }
    add_upstreams(&mut config, flags, &mut problems);
    ParsedConfig {
        config,
        is_complete,
        problems: Problems(problems),
        families: families.to_vec(),
        removed,
        unread,
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
        let invalid = self.config.problems(&self.families, &self.unread);
        let invalid = invalid.into_iter().map(|problem| Problem {
            path: self.removed.path_in_file(&problem.path),
            ..problem
        });
        // What was not read has its default, or is missing; a problem with that would be a false one.
        let own = invalid.filter(|problem| !self.unread.overlaps(&problem.path));
        let left = MAX_PROBLEMS.saturating_sub(problems.0.len());
        problems.0.extend(
            own.take(left)
                .map(|problem| with_source(problem.path, problem.message, &self.figment)),
        );
        problems
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
pub mod tests {
    use super::*;

    pub fn load(flags: &Flags) -> Result<Config, Vec<Problem>> {
        read(flags, &[]).validated().map_err(|problems| problems.0)
    }

    pub fn load_text(text: &str) -> Result<Config, Vec<String>> {
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
