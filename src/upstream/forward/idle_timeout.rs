//! The time limit on waiting for the next bytes of an answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::{
    config::Upstream,
    error::{Error, Limit},
};

/// The limit on the current wait: `upstream.first_chunk_ms` before the first bytes, `upstream.idle_ms` afterwards.
///
/// Only time in which we wait for the server counts: while a slow client does not poll the body, none passes. The timer is reset
/// only when it fires too early, because resetting it for every chunk would cost more.
#[derive(Debug)]
pub struct IdleTimeout {
    timer: Pin<Box<Sleep>>,
    /// When the current wait began; `None` while nobody waits.
    waiting_since: Option<Instant>,
    limit: Duration,
    setting: Limit,
    idle: Duration,
}

impl IdleTimeout {
    /// Starts the wait for the first chunk.
    pub fn new(settings: &Upstream) -> Self {
        Self {
            timer: Box::pin(sleep(settings.first_chunk_timeout())),
            waiting_since: Some(Instant::now()),
            limit: settings.first_chunk_timeout(),
            setting: Limit::FirstChunk,
            idle: settings.idle_timeout(),
        }
    }

    /// Ends the current wait, because bytes came. `upstream.idle_ms` limits the following ones.
    pub fn on_chunk(&mut self) {
        self.waiting_since = None;
        (self.limit, self.setting) = (self.idle, Limit::Idle);
    }

    /// Ready with a timeout error once the current wait has lasted for its limit. The first poll after a chunk starts a wait.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let deadline = *self.waiting_since.get_or_insert_with(Instant::now) + self.limit;
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline); // the first limit may be longer than the later ones
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(Error::timeout(self.setting, self.limit));
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}
