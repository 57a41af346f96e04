//! A file of settings.

use std::path::Path;

use figment::{
    Metadata, Profile, Provider,
    providers::{Format, Yaml},
    value::{Dict, Map},
};

use super::Problem;

/// A file that was read: once, since a pipe has nothing to say the second time.
pub struct Read<'a> {
    file: &'a Path,
    text: String,
}

impl<'a> Read<'a> {
    /// Reads it; what is no mapping of settings is a problem.
    pub fn of(file: &'a Path) -> Result<Self, Problem> {
        let problem = |message: String| Err(Problem::new(file.display().to_string(), message));
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return problem(format!("cannot be read: {error}")),
        };
        match serde_yaml::from_str::<serde_yaml::Value>(&text) {
            Ok(serde_yaml::Value::Mapping(_)) => Ok(Self { file, text }),
            Ok(serde_yaml::Value::Null) => problem("is empty".into()),
            Ok(_) => problem("must be a mapping of settings".into()),
            Err(error) => problem(format!("is not YAML: {error}")),
        }
    }
}

impl Provider for Read<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::from("YAML file", self.file)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Yaml::string(&self.text).data()
    }
}
