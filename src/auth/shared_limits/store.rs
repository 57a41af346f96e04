//! One connection to the store, and the script that counts a request there in one round trip.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, ServerErrorKind,
    aio::MultiplexedConnection,
};

use crate::{
    auth::rate_limit::BURST,
    config::{Digest, Revealed},
    net::tls,
};

/// What every key of ours in the store begins with.
const PREFIX: &str = "thinkgate:rate:";

const COUNT_REQUEST: &str = include_str!("count_request.lua");

/// Opens connections to the store.
#[derive(Debug)]
pub struct Store {
    client: Client,
    script: Script,
}

/// A connection that all requests share: their commands are sent at once and answered in order.
pub type StoreConnection = MultiplexedConnection;

/// One request, for the store to count.
#[derive(Debug, Clone, Copy)]
pub struct Count<'a> {
    /// The key in the store.
    pub key: &'a str,
    /// The time between two requests at the limit's rate.
    pub interval: Duration,
    /// How far the replica knows the requests to be paid for.
    pub paid_ahead: Duration,
}

/// What the store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// True if the request passes.
    pub passes: bool,
    /// How far the requests are paid for ahead of now, this one included if it passes.
    pub paid_ahead: Duration,
}

impl Counted {
    /// When the next request passes, if this one does not.
    pub fn wait(&self, interval: Duration) -> Duration {
        (self.paid_ahead + interval).saturating_sub(BURST)
    }
}

/// The key in the store for the limit of the client's key called `name`. The name is hashed: it may be long, and may say who the
/// client is.
pub fn store_key(name: &str) -> String {
    format!("{PREFIX}{}", Digest::of(name).short_hex())
}

impl Store {
    /// A store at `url`, not connected yet.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn new(url: &Revealed) -> Result<Self, String> {
        tls::install_crypto_provider();
        // The error may repeat the address, and with it the password.
        let client = Client::open(url.expose())
            .map_err(|_| "the address cannot be used; write redis://HOST:PORT".to_owned())?;
        Ok(Self {
            client,
            script: Script::new(COUNT_REQUEST),
        })
    }

    /// Opens a connection. The caller limits the time.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn connect(&self) -> Result<StoreConnection, String> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = &self.client;
        let connected = client.get_multiplexed_async_connection_with_config(&settings);
        connected.await.map_err(|error| in_words(&error))
    }

    /// Counts a request. A store that does not know the script yet gets it, which takes a second round trip once.
    ///
    /// # Errors
    /// Why it was not counted, in words.
    pub async fn count(
        &self,
        connection: &StoreConnection,
        count: Count<'_>,
    ) -> Result<Counted, String> {
        let mut connection = connection.clone();
        let run = async |command: &str, script: &str, connection: &mut StoreConnection| {
            redis::cmd(command)
                .arg(script)
                .arg(1)
                .arg(count.key)
                .arg(microseconds(count.interval))
                .arg(microseconds(count.paid_ahead))
                .arg(microseconds(BURST))
                .query_async::<(u8, u64)>(connection)
                .await
        };
        let answer = match run("EVALSHA", self.script.get_hash(), &mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                run("EVAL", COUNT_REQUEST, &mut connection).await
            }
            answer => answer,
        };
        let (passes, paid_ahead_us) = answer.map_err(|error| in_words(&error))?;
        Ok(Counted {
            passes: passes == 1,
            paid_ahead: Duration::from_micros(paid_ahead_us),
        })
    }
}

/// In microseconds with a fraction: a limit may be of more than a million requests per minute.
fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn in_words(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        "connection refused".into()
    } else if error.is_timeout() {
        "timed out".into()
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_store_has_a_fixed_length_and_no_name_in_it() {
        let key = store_key("alice");
        assert!(key.starts_with(PREFIX) && !key.contains("alice"), "{key}");
        assert_eq!(key.len(), store_key(&"alice".repeat(99)).len());
        assert_ne!(key, store_key("bob"));
    }
}
