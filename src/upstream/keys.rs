//! The API keys of model servers, read once per configuration.
//!
//! The catalog is rebuilt whenever a server lists other models. A key file that is missing or half written at that moment belongs to
//! a configuration that will be rejected; it must not take the key away from the one in use.

use std::collections::BTreeMap;

use http::HeaderValue;

use crate::config::{Config, Revealed, Secret};

/// The `Authorization` value of every key reference in the configuration.
#[derive(Debug, Default)]
pub struct ServerKeys(BTreeMap<String, HeaderValue>);

impl ServerKeys {
    /// Reads all keys of model servers. Reads files, so it blocks.
    ///
    /// # Errors
    /// Which key cannot be read, in words for the operator.
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

    /// The `Authorization` value for a key reference.
    pub fn authorization(&self, secret: Option<&Secret>) -> Option<HeaderValue> {
        self.0.get(&secret?.to_string()).cloned()
    }
}

/// `Bearer KEY`, marked sensitive so that it is never printed.
fn bearer(key: &Revealed) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.expose())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_once_and_a_missing_key_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-1\n").unwrap();
        let at = file.path().display();
        let config = Config::from_yaml(&format!(
            "{{models: {{m: {{api_key: 'file:{at}', endpoints: [{{url: 'http://a'}}]}}}}}}"
        ))
        .unwrap();
        let keys = ServerKeys::read(&config).unwrap();
        std::fs::write(file.path(), "").unwrap();
        let key = keys
            .authorization(config.models["m"].api_key.as_ref())
            .unwrap();
        assert_eq!(key, "Bearer sk-1");
        assert!(!format!("{keys:?}").contains("sk-1"));
        let error = ServerKeys::read(&config).unwrap_err();
        assert!(error.contains(&at.to_string()), "{error}");
    }
}
