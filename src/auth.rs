//! Who may come in: bearer keys, compared in constant time.

use std::sync::Arc;

use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{config::Auth, error::Error};

/// The configured keys. Only their hashes are kept, so that all have one length and none can be printed.
#[derive(Debug, Default)]
pub struct Keys(Vec<(Arc<str>, [u8; 32])>);

impl Keys {
    /// Reads the keys that the configuration names.
    ///
    /// # Errors
    /// Which variable or file is missing.
    pub fn new(settings: &Auth) -> Result<Self, String> {
        let hashed = |key: &crate::config::Key| {
            Ok((key.name.as_str().into(), hash(key.key.reveal()?.expose())))
        };
        settings
            .keys
            .iter()
            .map(hashed)
            .collect::<Result<_, String>>()
            .map(Self)
    }

    /// True when everybody may come in, and their credentials are meant for the model server.
    pub fn are_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key the request carries; `None` when everybody may come in.
    ///
    /// # Errors
    /// A 401 when it carries none, or one that is not configured.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Option<Arc<str>>, Error> {
        if self.are_open() {
            return Ok(None);
        }
        let key = presented(headers).ok_or(Error::Key(
            "No API key: send it as `Authorization: Bearer KEY`.",
        ))?;
        let key = hash(key);
        // Every key is compared, so that the time tells nothing of which one was close.
        let matching =
            |found, (name, known): &(Arc<str>, [u8; 32])| match bool::from(known.ct_eq(&key)) {
                true => Some(name.clone()),
                false => found,
            };
        let owner = self.0.iter().fold(None, matching);
        owner.map(Some).ok_or(Error::Key("Incorrect API key."))
    }
}

/// The key of a request, as OpenAI's clients send it, or Anthropic's.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(header: &'static str, value: &'static str) -> Result<Option<Arc<str>>, Error> {
        let keys = Keys(vec![
            ("alice".into(), hash("sk-a")),
            ("bob".into(), hash("sk-b")),
        ]);
        keys.admit(&HeaderMap::from_iter([(
            header.parse().unwrap(),
            value.parse().unwrap(),
        )]))
    }

    #[test]
    fn a_key_lets_its_owner_in_and_nobody_else() {
        assert_eq!(
            admit("authorization", "Bearer sk-b")
                .unwrap()
                .unwrap()
                .as_ref(),
            "bob"
        );
        assert_eq!(
            admit("x-api-key", "sk-a").unwrap().unwrap().as_ref(),
            "alice"
        );
        for (header, value) in [
            ("authorization", "Bearer sk-c"),
            ("authorization", "sk-a"),
            ("authorization", "Bearer "),
            ("x-other", "sk-a"),
        ] {
            assert!(admit(header, value).is_err(), "{header}: {value}");
        }
        assert!(Keys::default().admit(&HeaderMap::new()).unwrap().is_none());
    }
}
