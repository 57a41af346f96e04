//! The phases of a request.

use std::{mem, time::Instant};

use super::mutation::HeaderChange;
use crate::{
    pipeline::{AdmittedRequest, BodyBuffer},
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
