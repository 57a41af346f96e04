//! Who may come in, for which models, and how often: bearer keys, compared in constant time.

mod rate_limit;

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

use self::rate_limit::RateLimiter;
use crate::{
    config::{Auth, Digest, Key},
    error::Error,
};

/// The configured keys. Only their hashes are kept, so that all have one length and none can be printed.
#[derive(Debug, Default)]
pub struct Keys(Vec<(Digest, Arc<Caller>)>);

/// Whose key a request came with, and what it may be used for.
#[derive(Debug)]
pub struct Caller {
    /// The name of the key; appears in the log.
    pub name: Arc<str>,
    /// The models and aliases it may be used for, by the names that clients write; `None` is all.
    models: Option<BTreeSet<String>>,
    /// Shared with the same key of an earlier configuration.
    limiter: Option<Arc<RateLimiter>>,
}

impl Keys {
    /// Reads the keys that the configuration names. `before`: those of the configuration that this one replaces; a key that
    /// is there already under its name, with the same rate, goes on with what it has left of it.
    ///
    /// # Errors
    /// Which variable or file is missing.
    pub fn new(settings: &Auth, before: Option<&Self>) -> Result<Self, String> {
        let keys = settings.keys.iter().map(|key| {
            let known = before.and_then(|before| before.caller(&key.name));
            Ok((key.key.digest()?, Arc::new(Caller::new(key, known))))
        });
        keys.collect::<Result<_, String>>().map(Self)
    }

    /// True when everybody may come in, and their credentials are meant for the model server.
    pub fn allow_anonymous(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key the request carries; `None` when everybody may come in.
    ///
    /// # Errors
    /// A 401 when it carries none, or one that is not configured.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Error> {
        if self.allow_anonymous() {
            return Ok(None);
        }
        let key = key_from_headers(headers).ok_or(Error::Unauthorized(
            "No API key: send it as `Authorization: Bearer KEY`.",
        ))?;
        let key = Digest::of(key);
        // Every key is compared, so that the time tells nothing of which one was close.
        let matching =
            |found, (known, caller): &(Digest, Arc<Caller>)| match bool::from(known.ct_eq(&key)) {
                true => Some(caller.clone()),
                false => found,
            };
        let owner = self.0.iter().fold(None, matching);
        owner
            .map(Some)
            .ok_or(Error::Unauthorized("Incorrect API key."))
    }

    fn caller(&self, name: &str) -> Option<&Caller> {
        let callers = self.0.iter().map(|(_, caller)| &**caller);
        callers.into_iter().find(|caller| &*caller.name == name)
    }
}

impl Caller {
    fn new(key: &Key, known: Option<&Self>) -> Self {
        let rate = key.requests_per_minute.and_then(NonZeroU32::new);
        Self {
            name: key.name.as_str().into(),
            models: key.models.clone().map(BTreeSet::from_iter),
            limiter: rate.map(|rate| {
                known
                    .and_then(|known| known.limiter.clone())
                    .filter(|known| known.per_minute() == rate)
                    .unwrap_or_else(|| Arc::new(RateLimiter::new(rate)))
            }),
        }
    }

    /// The models and aliases the key may be used for, by the names that clients write; `None` is all.
    pub fn models(&self) -> Option<&BTreeSet<String>> {
        self.models.as_ref()
    }

    /// Counts one more request against the rate of the key.
    ///
    /// # Errors
    /// A 429 when it has none left.
    pub fn check_rate(&self) -> Result<(), Error> {
        self.limiter
            .as_ref()
            .map_or(Ok(()), |limiter| limiter.check())
    }
}

/// The key of a request, as OpenAI's clients send it, or Anthropic's.
fn key_from_headers(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (scheme, key) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn key(name: &str, key: &str, requests_per_minute: Option<u32>) -> Key {
        Key {
            name: name.into(),
            key: Secret::Sha256(Digest::of(key)),
            models: None,
            requests_per_minute,
        }
    }

    fn keys(keys: Vec<Key>, before: Option<&Keys>) -> Keys {
        Keys::new(&Auth { keys }, before).unwrap()
    }

    fn admit(keys: &Keys, header: &'static str, value: &str) -> Result<Option<Arc<Caller>>, Error> {
        let pair = (header.parse().unwrap(), value.parse().unwrap());
        keys.authenticate(&HeaderMap::from_iter([pair]))
    }

    #[test]
    fn a_key_lets_its_owner_in_and_nobody_else() {
        let known = keys(
            vec![key("alice", "sk-a", None), key("bob", "sk-b", None)],
            None,
        );
        for (header, value, owner) in [
            ("authorization", "Bearer sk-b", "bob"),
            ("x-api-key", "sk-a", "alice"),
        ] {
            let caller = admit(&known, header, value).unwrap().unwrap();
            assert_eq!(&*caller.name, owner);
        }
        for (header, value) in [
            ("authorization", "Bearer sk-c"),
            ("authorization", "sk-a"),
            ("authorization", "Bearer "),
            ("x-other", "sk-a"),
        ] {
            assert!(admit(&known, header, value).is_err(), "{header}: {value}");
        }
        assert!(
            Keys::default()
                .authenticate(&HeaderMap::new())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_new_configuration_gives_nobody_their_requests_again() {
        let take = |keys: &Keys, key: &str| {
            let caller = admit(keys, "x-api-key", key).unwrap().unwrap();
            caller.check_rate().is_ok()
        };
        let first = keys(vec![key("alice", "sk-a", Some(1))], None);
        assert!(take(&first, "sk-a") && !take(&first, "sk-a"));
        // The same key, and a new one of the same owner.
        for secret in ["sk-a", "sk-new"] {
            let next = keys(
                vec![key("bob", "sk-b", None), key("alice", secret, Some(1))],
                Some(&first),
            );
            assert!(!take(&next, secret));
        }
        // Another rate, no rate, another owner: nothing is used yet.
        let next = keys(
            vec![key("alice", "sk-a", Some(2)), key("carol", "sk-c", Some(1))],
            Some(&first),
        );
        assert!(take(&next, "sk-a") && take(&next, "sk-a") && !take(&next, "sk-a"));
        assert!(take(&next, "sk-c") && !take(&next, "sk-c"));
        let next = keys(vec![key("alice", "sk-a", None)], Some(&next));
        assert!((0..9).all(|_| take(&next, "sk-a")));
    }
}
