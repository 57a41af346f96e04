//! API keys: which are valid, for which models, and for how many requests per minute. They are compared in constant time.

mod rate_limit;
mod shared_limits;

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Instant};

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

pub use shared_limits::SharedLimits;

use self::rate_limit::RateLimiter;
use crate::{
    config::{Auth, Digest, Key},
    error::Error,
};

/// The configured keys. Only hashes are kept: they have one length, and no key can be printed.
#[derive(Debug, Default)]
pub struct Keys(Vec<(Digest, Arc<Caller>)>);

/// The owner of an API key, and what the key may be used for.
#[derive(Debug)]
pub struct Caller {
    /// The name of the key; it appears in the log.
    pub name: Arc<str>,
    /// See [`Self::models`].
    models: Option<BTreeSet<String>>,
    /// The most requests of the key in flight at the same time; `None` is no limit of its own.
    pub max_in_flight: Option<usize>,
    /// Shared with the same key of the configuration before.
    limiter: Option<Arc<RateLimiter>>,
    /// Counts for all replicas.
    shared: Option<Arc<SharedLimits>>,
}

impl Keys {
    /// Loads the keys that the configuration names. `previous`: the keys that these replace. A key with the same name and the same
    /// limit as before keeps its remaining requests. `shared`: counts the requests for all replicas.
    ///
    /// # Errors
    /// Which environment variable or file is missing.
    pub fn new(
        settings: &Auth,
        previous: Option<&Self>,
        shared: Option<&Arc<SharedLimits>>,
    ) -> Result<Self, String> {
        let keys = settings.keys.iter().map(|key| {
            let before = previous.and_then(|keys| keys.caller(&key.name));
            let caller = Caller {
                shared: shared.cloned(),
                ..Caller::new(key, before)
            };
            Ok((key.key.digest()?, Arc::new(caller)))
        });
        keys.collect::<Result<_, String>>().map(Self)
    }

    /// True when no keys are configured. Then every client may send requests, and its credentials are forwarded.
    pub fn allow_anonymous(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of keys.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Finds the owner of the request's key; `None` when no keys are configured.
    ///
    /// # Errors
    /// A 401 when the request has no key, or one that is not configured.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Error> {
        if self.allow_anonymous() {
            return Ok(None);
        }
        let key = key_from_headers(headers).ok_or(Error::Unauthorized(
            "No API key: send it as `Authorization: Bearer KEY`.",
        ))?;
        let key = Digest::of(key);
        // Every key is compared, so that the time does not depend on which key matches.
        let mut owner = None;
        for (configured, caller) in &self.0 {
            if configured.ct_eq(&key).into() {
                owner = Some(caller.clone());
            }
        }
        match owner {
            Some(_) => Ok(owner),
            None => Err(Error::Unauthorized("Incorrect API key.")),
        }
    }

    fn caller(&self, name: &str) -> Option<&Caller> {
        let callers = self.0.iter().map(|(_, caller)| &**caller);
        callers.into_iter().find(|caller| &*caller.name == name)
    }
}

impl Caller {
    fn new(key: &Key, before: Option<&Self>) -> Self {
        let rate = key.requests_per_minute.and_then(NonZeroU32::new);
        Self {
            name: key.name.as_str().into(),
            models: key.models.clone().map(BTreeSet::from_iter),
            max_in_flight: key.max_in_flight,
            limiter: rate.map(|rate| {
                before
                    .and_then(|before| before.limiter.clone())
                    .filter(|limiter| limiter.per_minute() == rate)
                    .unwrap_or_else(|| Arc::new(RateLimiter::new(rate)))
            }),
            shared: None,
        }
    }

    /// The models and aliases that the key may be used for, as clients name them; `None` is all.
    pub fn models(&self) -> Option<&BTreeSet<String>> {
        self.models.as_ref()
    }

    /// Counts one request against the limit of the key.
    ///
    /// # Errors
    /// A 429 when the key has no request left.
    pub async fn check_rate(&self) -> Result<(), Error> {
        match (&self.limiter, &self.shared) {
            (None, _) => Ok(()),
            (Some(limiter), None) => limiter.check(Instant::now()),
            // Boxed, or the futures of requests without a limit would have room for it too.
            (Some(limiter), Some(shared)) => Box::pin(shared.check(&self.name, limiter)).await,
        }
    }
}

/// The key in the `Authorization` header, as OpenAI's clients send it, or in `x-api-key`, as Anthropic's do.
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
    use futures_util::FutureExt;

    use super::*;
    use crate::config::Secret;

    fn key(name: &str, key: &str, requests_per_minute: Option<u32>) -> Key {
        Key {
            name: name.into(),
            key: Secret::Sha256(Digest::of(key)),
            models: None,
            requests_per_minute,
            max_in_flight: None,
        }
    }

    fn keys(keys: Vec<Key>, previous: Option<&Keys>) -> Keys {
        let settings = Auth {
            keys,
            shared_limits: None,
        };
        Keys::new(&settings, previous, None).unwrap()
    }

    fn authenticate(
        keys: &Keys,
        header: &'static str,
        value: &str,
    ) -> Result<Option<Arc<Caller>>, Error> {
        let pair = (header.parse().unwrap(), value.parse().unwrap());
        keys.authenticate(&HeaderMap::from_iter([pair]))
    }

    #[test]
    fn only_a_configured_key_is_accepted() {
        let known = keys(
            vec![key("alice", "sk-a", None), key("bob", "sk-b", None)],
            None,
        );
        for (header, value, owner) in [
            ("authorization", "Bearer sk-b", "bob"),
            ("x-api-key", "sk-a", "alice"),
        ] {
            let caller = authenticate(&known, header, value).unwrap().unwrap();
            assert_eq!(&*caller.name, owner);
        }
        for (header, value) in [
            ("authorization", "Bearer sk-c"),
            ("authorization", "sk-a"),
            ("authorization", "Bearer "),
            ("x-other", "sk-a"),
        ] {
            assert!(
                authenticate(&known, header, value).is_err(),
                "{header}: {value}"
            );
        }
        assert!(
            Keys::default()
                .authenticate(&HeaderMap::new())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn a_new_configuration_does_not_reset_the_limits() {
        let take = |keys: &Keys, key: &str| {
            let caller = authenticate(keys, "x-api-key", key).unwrap().unwrap();
            caller.check_rate().now_or_never().unwrap().is_ok()
        };
        let first = keys(vec![key("alice", "sk-a", Some(1))], None);
        assert!(take(&first, "sk-a") && !take(&first, "sk-a"));
        // The same key, and a new key of the same owner.
        for secret in ["sk-a", "sk-new"] {
            let next = keys(
                vec![key("bob", "sk-b", None), key("alice", secret, Some(1))],
                Some(&first),
            );
            assert!(!take(&next, secret));
        }
        // Another limit, another owner, no limit: none of the requests is used.
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
