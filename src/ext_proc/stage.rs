//! How far a request is.

use std::{mem, time::Instant};

use super::{body::Pieces, mutation::HeaderChange};
use crate::{pipeline::AdmittedRequest, routing::Mode};

/// How far the request is.
pub enum Stage {
    /// Nothing was heard.
    Start,
    /// Its body is coming.
    Reading(Reading),
    /// It is on its way, or is none of ours; whatever still comes of it goes on as it came.
    Sent(Option<Sent>),
    /// It was refused; nothing more will be said.
    Over,
}

impl Stage {
    /// The request, as long as it is kept.
    pub fn admitted(&mut self) -> Option<&mut AdmittedRequest> {
        match self {
            Self::Reading(reading) => Some(&mut reading.admitted),
            Self::Sent(sent) => sent.as_mut().map(|sent| &mut sent.admitted),
            Self::Start | Self::Over => None,
        }
    }

    /// A request that was being read goes on.
    pub fn send(&mut self) {
        *self = match mem::replace(self, Self::Sent(None)) {
            Self::Reading(reading) => Self::sent(reading.admitted),
            other => other,
        };
    }

    /// What becomes of a request that goes on.
    pub fn sent(admitted: AdmittedRequest) -> Self {
        Self::Sent(Some(Sent {
            admitted,
            at: Instant::now(),
        }))
    }
}

/// A request whose body is coming.
pub struct Reading {
    /// Its place and its record.
    pub admitted: AdmittedRequest,
    /// What it is read for.
    pub purpose: Purpose,
    /// What changes in its head in any case.
    pub head: HeaderChange,
    /// Its body so far.
    pub body: Pieces,
    /// True when pieces of the body were answered by clearing them.
    pub is_cleared: bool,
}

/// Why a body is read.
pub enum Purpose {
    /// To judge it. Holds the mode the client asks for.
    Judge(Option<Mode>),
    /// To see which model it names. Holds its media type.
    Name(Option<String>),
}

/// A request on its way.
pub struct Sent {
    /// Its place and its record.
    pub admitted: AdmittedRequest,
    /// Since when.
    pub at: Instant,
}
