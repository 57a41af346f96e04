//! The keys of model servers, as they were when the configuration was taken up.
//!
//! They are read once, with it. A catalog is built anew whenever a server lists other models; a key file that is gone or half
//! written by then belongs to a configuration that is refused, and must not take the key away from the one that is in use.

use std::collections::BTreeMap;

use http::HeaderValue;

use crate::config::{Config, Revealed, Secret};

/// What goes into `Authorization`, by where the configuration says that the key is.
#[derive(Debug, Default)]
pub struct ServerKeys(BTreeMap<String, HeaderValue>);

impl ServerKeys {
    /// Reads every key of a model server that the configuration names. Files are read: not for a thread that serves.
    ///
    /// # Errors
    /// Which one cannot be read, in words for the operator.
    pub fn read(config: &Config) -> Result<Self, String> {
        let discovered = config.discover.iter().map(|server| &server.api_key);
        let configured = config.models.values().flat_map(|model| {
            let endpoints = model.endpoints.iter().map(|endpoint| &endpoint.api_key);
            endpoints.chain([&model.api_key])
        });
        let mut keys = BTreeMap::new();
        for secret in discovered.chain(configured).flatten() {
            let key = secret.reveal()?;
            let value = bearer(&key).ok_or_else(|| format!("{secret} is no header value"))?;
            keys.insert(secret.to_string(), value);
        }
        Ok(Self(keys))
    }

    /// The `Authorization` that stands for a reference of the configuration.
    pub fn of(&self, secret: Option<&Secret>) -> Option<HeaderValue> {
        self.0.get(&secret?.to_string()).cloned()
    }
}

/// `Bearer KEY`, marked so that it never prints.
fn bearer(key: &Revealed) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_one_that_was_read_and_one_that_is_missing_is_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-1\n").unwrap();
        let at = file.path().display();
        let config = Config::from_yaml(&format!(
            "{{models: {{m: {{api_key: 'file:{at}', endpoints: [{{url: 'http://a'}}]}}}}}}"
        ))
        .unwrap();
        let keys = ServerKeys::read(&config).unwrap();
        std::fs::write(file.path(), "").unwrap();
        let key = keys.of(config.models["m"].api_key.as_ref()).unwrap();
        assert_eq!(key, "Bearer sk-1");
        assert!(!format!("{keys:?}").contains("sk-1"));
        let error = ServerKeys::read(&config).unwrap_err();
        assert!(error.contains(&at.to_string()), "{error}");
    }
}
