//! Limits that replicas share: `requests_per_minute`, counted in Redis or Valkey.
//!
//! While the store does not answer within `auth.shared_limits.timeout_ms`, each replica limits for itself. The replica's own
//! [`RateLimiter`] takes up every answer of the store, so it goes on where the store was, without a fresh burst; and what it knows
//! goes to the store with every request, so that a store that comes back empty gives none either.

mod store;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use self::store::{Count, Counted, Store, StoreConnection, store_key};
use super::rate_limit::{RateLimiter, rate_limited};
use crate::{
    config::{Auth, Revealed},
    error::Error,
    telemetry::Metrics,
};

/// The time limit for a connection to the store, TLS, password and the loading of the script included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time between two tries to reach the store, and between two looks at whether it still answers. A look finds out before a
/// request does; it costs one command a second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The name that is counted for a look. It is never at its limit: a look takes no time of it.
const LOOK: &str = "";

/// The store that keeps the limits of all replicas.
pub struct SharedLimits {
    url: Revealed,
    /// The address without user and password, for the log.
    address: String,
    timeout: Duration,
    store: Store,
    /// Set while the store answers in time.
    connection: ArcSwapOption<StoreConnection>,
    /// Why a request found that the store does not answer.
    trouble: Mutex<Option<String>>,
    lost: Notify,
}

impl SharedLimits {
    /// The store that the configuration names, if any. `before`: the one in use; it stays if nothing changed, with its connection.
    ///
    /// # Errors
    /// The variable or file of the address that is missing, or an address that cannot be used.
    pub fn new(settings: &Auth, before: Option<&Arc<Self>>) -> Result<Option<Arc<Self>>, String> {
        let Some(settings) = &settings.shared_limits else {
            return Ok(None);
        };
        let (url, timeout) = (settings.url.reveal()?, settings.timeout());
        if let Some(before) = before.filter(|one| one.url == url && one.timeout == timeout) {
            return Ok(Some(before.clone()));
        }
        Ok(Some(Arc::new(Self {
            store: Store::new(&url)?,
            address: settings.url.address()?,
            url,
            timeout,
            connection: ArcSwapOption::empty(),
            trouble: Mutex::default(),
            lost: Notify::new(),
        })))
    }

    /// True while the store answers in time; otherwise each replica limits for itself.
    pub fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Counts one request of the client's key called `name`, here if the store does not answer.
    ///
    /// # Errors
    /// A 429 when none is left; that request is not counted.
    pub async fn check(&self, name: &str, limiter: &RateLimiter) -> Result<(), Error> {
        // Taken before the question, so that what is taken up is never more than the store has: the answer is on its way for a while.
        let now = Instant::now();
        let Some(connection) = self.connection.load_full() else {
            return limiter.check(now);
        };
        let interval = limiter.interval();
        let count = Count {
            key: &store_key(name),
            interval,
            paid_ahead: limiter.paid_ahead(now),
        };
        match self.count(&connection, count).await {
            Ok(counted) => {
                limiter.take_up(now, counted.paid_ahead);
                match counted.passes {
                    true => Ok(()),
                    false => Err(rate_limited(counted.wait(interval))),
                }
            }
            Err(trouble) => {
                self.leave(&connection, trouble);
                limiter.check(now)
            }
        }
    }

    async fn count(
        &self,
        connection: &StoreConnection,
        count: Count<'_>,
    ) -> Result<Counted, String> {
        match timeout(self.timeout, self.store.count(connection, count)).await {
            Ok(counted) => counted,
            Err(_) => Err(format!(
                "no answer within auth.shared_limits.timeout_ms = {} ms",
                self.timeout.as_millis()
            )),
        }
    }

    /// Leaves a connection that does not answer, so that the next request does not wait for it. Only the first one to find out does
    /// anything.
    fn leave(&self, connection: &Arc<StoreConnection>, trouble: String) {
        let before = self.connection.compare_and_swap(connection, None);
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, connection))
        {
            *self.trouble.lock() = Some(trouble);
            self.lost.notify_one();
        }
    }

    /// Keeps a connection to the store, and says when it is lost and when it is back. Never returns.
    pub async fn run(&self, metrics: &Metrics) {
        let mut was_up = None;
        loop {
            metrics.set_shared_limits_up(Some(false));
            let trouble = match self.connect().await {
                Err(trouble) => trouble,
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    self.connection.store(Some(connection.clone()));
                    metrics.set_shared_limits_up(Some(true));
                    tracing::info!(
                        store = self.address,
                        "the store of auth.shared_limits answers; limits are shared"
                    );
                    was_up = Some(true);
                    self.watch(&connection).await
                }
            };
            metrics.set_shared_limits_up(Some(false));
            if was_up != Some(false) {
                tracing::warn!(
                    store = self.address,
                    cause = trouble,
                    "the store of auth.shared_limits does not answer; each replica limits for itself until it does"
                );
            }
            was_up = Some(false);
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// A connection that answers in time.
    async fn connect(&self) -> Result<StoreConnection, String> {
        let connected = async {
            let connection = self.store.connect().await?;
            self.store
                .count(&connection, look(&store_key(LOOK)))
                .await?; // loads the script
            Ok::<_, String>(connection)
        };
        let connection = match timeout(CONNECT_TIMEOUT, connected).await {
            Ok(connected) => connected?,
            Err(_) => return Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        };
        self.count(&connection, look(&store_key(LOOK))).await?;
        Ok(connection)
    }

    /// Waits until the connection does not answer any more, and returns why.
    async fn watch(&self, connection: &Arc<StoreConnection>) -> String {
        let key = store_key(LOOK);
        while self.is_up() {
            tokio::select! {
                () = self.lost.notified() => continue, // it may have been about the connection before
                () = sleep(LOOK_INTERVAL) => {}
            }
            if let Err(trouble) = self.count(connection, look(&key)).await {
                self.leave(connection, trouble);
            }
        }
        let trouble = self.trouble.lock().take();
        trouble.unwrap_or_default()
    }
}

/// Counts nothing, in the very way in which requests are counted.
fn look(key: &str) -> Count<'_> {
    Count {
        key,
        interval: Duration::ZERO,
        paid_ahead: Duration::ZERO,
    }
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedLimits({})", self.address)
    }
}
