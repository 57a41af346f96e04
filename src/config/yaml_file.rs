//! A configuration file, in YAML.

use std::path::Path;

use figment::{
    Metadata, Profile, Provider,
    providers::{Format, Yaml},
    value::{Dict, Map},
};

use super::{Problem, read_file, yaml_depth::too_deep};

/// The text of a configuration file. It is read once, because a pipe cannot be read twice.
pub struct YamlFile<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> YamlFile<'a> {
    /// Reads the file.
    ///
    /// # Errors
    /// A problem if the file cannot be read, is not YAML, or is no mapping of settings.
    pub fn read(path: &'a Path) -> Result<Self, Problem> {
        let problem = |message: String| Err(Problem::new(path.display().to_string(), message));
        let text = match read_file(path).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => return problem("cannot be read: it is not UTF-8".into()),
            Err(message) => return problem(message),
        };
        if let Some(line) = too_deep(&text) {
            return problem(format!("has brackets nested too deep at line {line}"));
        }
        match serde_yaml::from_str::<serde_yaml::Value>(&text) {
            Ok(serde_yaml::Value::Mapping(_)) => Ok(Self { path, text }),
            Ok(serde_yaml::Value::Null) => problem("is empty".into()),
            Ok(_) => problem("must be a mapping of settings".into()),
            Err(error) => problem(format!("is not YAML: {error}")),
        }
    }
}

impl Provider for YamlFile<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("YAML file", self.path)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Yaml::string(&self.text).data()
    }
}
