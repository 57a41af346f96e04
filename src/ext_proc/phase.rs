//! The phases of a request.

use std::{mem, time::Instant};

use super::{mode::BodyMode, mutation::HeaderChange};
use crate::{
    api::BodyBuffer,
    config::Server,
    error::{Error, Limit},
    pipeline::AdmittedRequest,
    routing::Mode,
};

/// The phase of a request.
pub enum Phase {
    /// No message came yet.
    Start,
    /// Its body is being read.
    ReadingBody(PendingRequest),
    /// It was forwarded, or it is none of our routes. Later chunks pass through unchanged.
    Forwarded(Option<ForwardedRequest>),
    /// It got a response from us; no replies follow.
    Ended,
}

impl Phase {
    /// The admitted request, while there is one.
    pub fn admitted(&mut self) -> Option<&mut AdmittedRequest> {
        match self {
            Self::ReadingBody(pending) => Some(&mut pending.admitted),
            Self::Forwarded(request) => request.as_mut().map(|request| &mut request.admitted),
            Self::Start | Self::Ended => None,
        }
    }

    /// A request whose body was being read is forwarded.
    pub fn forward(&mut self) {
        *self = match mem::replace(self, Self::Forwarded(None)) {
            Self::ReadingBody(pending) => Self::forwarded(pending.admitted),
            other => other,
        };
    }

    /// The phase of a request that was just forwarded.
    pub fn forwarded(admitted: AdmittedRequest) -> Self {
        Self::Forwarded(Some(ForwardedRequest {
            admitted,
            since: Instant::now(),
        }))
    }
}

/// A request whose body is being read.
pub struct PendingRequest {
    /// Its permit and its record.
    pub admitted: AdmittedRequest,
    /// Why its body is read.
    pub purpose: BodyPurpose,
    /// The header changes that it needs in any case.
    pub head: HeaderChange,
    /// Its body so far.
    pub body: BodyBuffer,
    /// True when replies cleared earlier chunks of the body.
    pub is_cleared: bool,
    /// When its headers came.
    pub since: tokio::time::Instant,
    /// When its latest chunk came; `None` before the first one.
    pub latest_chunk: Option<tokio::time::Instant>,
}

/// When a body came too slowly.
pub struct BodyTimeout {
    /// When that will be.
    pub at: tokio::time::Instant,
    /// The error that names the limit.
    pub error: Error,
}

impl PendingRequest {
    /// When the rest of its body would be too late: the same limits as at the HTTP door. A pause shows only where Envoy sends
    /// every chunk as it comes.
    pub fn body_timeout(&self, mode: BodyMode, limits: &Server) -> BodyTimeout {
        let sends_chunks = match mode {
            BodyMode::Streamed | BodyMode::FullDuplex => true,
            BodyMode::Unknown => self.latest_chunk.is_some(),
            BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial => false,
        };
        let whole = self.since + limits.body_timeout();
        let pause = self.latest_chunk.unwrap_or(self.since) + limits.body_idle_timeout();
        let (at, setting, limit_ms) = match sends_chunks && pause < whole {
            true => (pause, Limit::BodyIdle, limits.body_idle_ms),
            false => (whole, Limit::Body, limits.body_ms),
        };
        let error = Error::BodyTimeout { setting, limit_ms };
        BodyTimeout { at, error }
    }
}

/// Why a body is read.
pub enum BodyPurpose {
    /// To decide its mode. Holds the mode in the client's header.
    Decide(Option<Mode>),
    /// To find the model that it names. Holds its `content-type`.
    FindModel(Option<String>),
}

/// A request that was forwarded.
pub struct ForwardedRequest {
    /// Its permit and its record.
    pub admitted: AdmittedRequest,
    /// When it was forwarded.
    pub since: Instant,
}
