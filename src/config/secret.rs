//! Keys: named in the configuration, never written into it, never printed.

use std::{env, fmt, fs};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Where a key is: `env:NAME` or `file:PATH`. The reference may be printed; the key is read when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; blanks around its content do not count.
    File(String),
}

/// A key in clear. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

impl Revealed {
    /// The key itself, for a header or a comparison.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Secret {
    /// Reads a reference.
    ///
    /// # Errors
    /// What it should look like. The text itself is not repeated: it may be a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("a key is named, not written here: env:NAME or file:PATH".into()),
        }
    }

    /// Fetches the key.
    ///
    /// # Errors
    /// Which variable or file is missing, empty, or no header value.
    pub fn reveal(&self) -> Result<Revealed, String> {
        let (found, place) = match self {
            Self::Env(name) => (
                env::var(name).ok(),
                format!("the environment variable {name}"),
            ),
            Self::File(path) => (fs::read_to_string(path).ok(), format!("the file {path}")),
        };
        let key = found
            .map(|key| key.trim().to_owned())
            .filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| format!("{place} is missing, unreadable or empty"))?;
        match key.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Revealed(key)),
            false => Err(format!(
                "{place} holds characters that cannot be sent in a header"
            )),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Through any value, so that the error for `key: 12345` does not print the key.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::parse(&text),
            _ => Self::parse(""),
        }
        .map_err(de::Error::custom)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_written_in_clear_is_refused_and_not_repeated() {
        let error = Secret::parse("sk-12345").unwrap_err();
        assert!(error.contains("env:NAME") && !error.contains("sk-12345"));
        let error = serde_json::from_str::<Secret>("12345")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("12345"), "{error}");
    }

    #[test]
    fn a_key_in_a_file_is_read_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "sk-1\n").unwrap();
        let key = Secret::parse(&format!("file:{}", file.path().display()))
            .unwrap()
            .reveal()
            .unwrap();
        assert_eq!(
            (key.expose(), format!("{key:?}").as_str()),
            ("sk-1", "(hidden)")
        );
        assert!(
            Secret::parse("env:THINKGATE_NO_SUCH")
                .unwrap()
                .reveal()
                .unwrap_err()
                .contains("THINKGATE_NO_SUCH")
        );
    }
}
