//! What every request goes through: a record, and a place among those in flight.

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    auth::Caller,
    error::Error,
    pipeline::Place,
    state::AppState,
    telemetry::{self, Record},
};

/// What is known of a request when it comes in.
#[derive(Debug)]
pub struct About {
    /// The route as a label.
    pub route: &'static str,
    /// `x-request-id`.
    pub id: Arc<str>,
    /// Whose key it came with.
    pub caller: Option<Arc<Caller>>,
}

/// A request that was let in: it has a place among those in flight, and a record.
#[derive(Debug)]
pub struct Entered {
    /// Its place; free for another when dropped.
    pub place: Place,
    /// What is recorded of it; written when dropped.
    pub record: Box<Record>,
    /// Whose key it came with.
    pub caller: Option<Arc<Caller>>,
}

impl Entered {
    /// Begins the record of a request that may not come in at all.
    pub fn begin(state: &AppState, about: About) -> Box<Record> {
        let mut record = Record::start(state.metrics.clone(), about.route, about.id);
        record.client = about.caller.map(|caller| caller.name.clone());
        record
    }

    /// Lets a request in. `headers`: where the client's trace is.
    ///
    /// # Errors
    /// The record back, and why, when `server.max_in_flight` are being served already.
    pub fn enter(
        state: &AppState,
        about: About,
        headers: &HeaderMap,
    ) -> Result<Self, (Box<Record>, Error)> {
        let caller = about.caller.clone();
        let record = Self::begin(state, about);
        telemetry::set_parent(&record.span, headers);
        match state.places.take(state.config.server.max_in_flight) {
            Some(place) => Ok(Self {
                place,
                record,
                caller,
            }),
            None => Err((record, Error::Overloaded)),
        }
    }

    /// True when its key is not for all models.
    pub fn is_restricted(&self) -> bool {
        let caller = self.caller.as_ref();
        caller.is_some_and(|caller| caller.models().is_some())
    }

    /// Counts the request against the rate of its key.
    ///
    /// # Errors
    /// A 429 when the key has none left.
    pub fn count(&self) -> Result<(), Error> {
        self.caller
            .as_ref()
            .map_or(Ok(()), |caller| caller.check_rate())
    }
}
