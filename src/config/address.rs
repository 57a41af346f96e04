//! Addresses of model servers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use url::Url;

use super::secret::may_carry_key;

/// The address of a model server, without `/v1` and without a slash at its end. An API path such as `/v1/models` is appended to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Parses an address such as `http://host:8000`. A path prefix is kept; `/v1` or `/` at the end is removed.
    ///
    /// # Errors
    /// What is wrong with the text. A text that may contain a key is not repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = || match may_carry_key(text) {
            true => "the text".to_owned(),
            false => format!("`{text}`"),
        };
        let url = Url::parse(text)
            .map_err(|_| format!("{} is no URL; write http://HOST:PORT", shown()))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(format!(
                "{} must begin with http:// or https:// and name a host",
                shown()
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not carry a user or password; use api_key".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a URL must not have a query or fragment; use api_key for a key".into());
        }
        let path = url.path().trim_end_matches('/');
        let path = path
            .strip_suffix("/v1")
            .unwrap_or(path)
            .trim_end_matches('/');
        let origin = url.origin().ascii_serialization();
        Ok(Self(format!("{origin}{path}")))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of `path` at this server. `path` begins with a slash and may have a query.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_accepted_as_people_write_them() {
        for (written, base) in [
            ("http://vllm:8000", "http://vllm:8000"),
            ("http://vllm:8000/", "http://vllm:8000"),
            ("http://vllm:8000/v1", "http://vllm:8000"),
            ("http://vllm:8000/v1/", "http://vllm:8000"),
            ("https://host/team/a/v1", "https://host/team/a"),
            ("http://[::1]:80/x", "http://[::1]/x"),
        ] {
            assert_eq!(BaseUrl::parse(written).unwrap().as_str(), base);
        }
        for wrong in [
            "vllm:8000",
            "ftp://x",
            "http://",
            "http://u:p@h",
            "http://h/?a=1",
            "",
        ] {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_that_may_contain_a_key_is_not_repeated() {
        for wrong in [
            "http://h/?api_key=sk-1",
            "http://h/#sk-1",
            "ftp://u:sk-1@h",
            "http://u:sk-1@",
            "http://sk-1@h",
            "h?sk-1",
        ] {
            let message = BaseUrl::parse(wrong).unwrap_err();
            assert!(!message.contains("sk-1"), "{message}");
        }
        let message = BaseUrl::parse("vllm:8000").unwrap_err();
        assert!(message.starts_with("`vllm:8000` must begin"), "{message}");
    }
}
