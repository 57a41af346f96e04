//! Settings in milliseconds, as [`Duration`].

use std::time::Duration;

use super::{ClassifierConfig, Server, SharedLimitsConfig, Upstream};

impl Server {
    /// `server.headers_ms`.
    pub fn headers_timeout(&self) -> Duration {
        Duration::from_millis(self.headers_ms)
    }

    /// `server.body_idle_ms`.
    pub fn body_idle_timeout(&self) -> Duration {
        Duration::from_millis(self.body_idle_ms)
    }

    /// `server.body_ms`.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_ms)
    }

    /// `server.write_idle_ms`.
    pub fn write_idle_timeout(&self) -> Duration {
        Duration::from_millis(self.write_idle_ms)
    }

    /// `server.drain_ms`.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

impl Upstream {
    /// `upstream.connect_ms`.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    /// `upstream.headers_ms`.
    pub fn headers_timeout(&self) -> Duration {
        Duration::from_millis(self.headers_ms)
    }

    /// `upstream.first_chunk_ms`.
    pub fn first_chunk_timeout(&self) -> Duration {
        Duration::from_millis(self.first_chunk_ms)
    }

    /// `upstream.idle_ms`.
    pub fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }

    /// `upstream.pool_idle_ms`.
    pub fn pool_idle_timeout(&self) -> Duration {
        Duration::from_millis(self.pool_idle_ms)
    }

    /// `upstream.open_ms`.
    pub fn open_duration(&self) -> Duration {
        Duration::from_millis(self.open_ms)
    }

    /// `upstream.discover_ms`.
    pub fn discover_interval(&self) -> Duration {
        Duration::from_millis(self.discover_ms)
    }

    /// `upstream.health_ms`; `None` if health checks are off.
    pub fn health_interval(&self) -> Option<Duration> {
        (self.health_ms > 0).then(|| Duration::from_millis(self.health_ms))
    }
}

impl SharedLimitsConfig {
    /// `auth.shared_limits.timeout_ms`.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

impl ClassifierConfig {
    /// `classifier.deadline_ms`.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }
}
