//! What every request goes through: a record, a place among those in flight, and one way to be refused.

use axum::{body::Body, extract::Request, response::Response};
use http::{Extensions, request::Parts};
use tokio::sync::OwnedSemaphorePermit;

use super::{refusal, refusal::ClientName, request_id::RequestId};
use crate::{
    error::Error,
    live::Live,
    telemetry::{self, Outcome, Record},
};

/// A request that was let in: it has a place among those in flight, and a record.
pub struct Entered {
    permit: OwnedSemaphorePermit,
    record: Record,
}

impl Entered {
    /// Lets a request in.
    ///
    /// # Errors
    /// The answer, when `server.max_in_flight` are being served already.
    #[expect(
        clippy::result_large_err,
        reason = "an answer is what the caller returns either way"
    )]
    pub fn enter(
        live: &Live,
        parts: &Parts,
        body: Body,
        route: &'static str,
    ) -> Result<(Self, Body), Response> {
        let record = begin(live, &parts.extensions, route);
        telemetry::adopt(&record.span, &parts.headers);
        match live.places.clone().try_acquire_owned() {
            Ok(permit) => Ok((Self { permit, record }, body)),
            Err(_) => Err(Self::failed(record, &Error::Overloaded, Some(body))),
        }
    }

    /// What is recorded of it.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// The place and the record, for the answer's body to carry.
    pub fn into_parts(self) -> (OwnedSemaphorePermit, Record) {
        (self.permit, self.record)
    }

    /// Answers with an error. `rest`: what of the request was not read.
    pub fn refuse(self, error: &Error, rest: Option<Body>) -> Response {
        Self::failed(self.record, error, rest)
    }

    /// Refuses a request that no route takes; recorded like any other.
    pub fn turn_away(live: &Live, request: Request, error: &Error) -> Response {
        let (parts, body) = request.into_parts();
        Self::failed(begin(live, &parts.extensions, "-"), error, Some(body))
    }

    /// Answers with an error and closes the record.
    pub fn failed(mut record: Record, error: &Error, rest: Option<Body>) -> Response {
        record.fail(error);
        record.status = error.status().as_u16();
        match rest {
            Some(rest) => refusal::answer_early(error, rest),
            None => refusal::answer(error),
        }
    }

    /// Answers with something made here and closes the record.
    pub fn answered(mut self, response: Response) -> Response {
        self.record.status = response.status().as_u16();
        self.record.outcome = Outcome::Complete;
        response
    }
}

/// Begins the record of a request.
fn begin(live: &Live, about: &Extensions, route: &'static str) -> Record {
    let id = about
        .get::<RequestId>()
        .map_or_else(|| "-".into(), |id| id.0.clone());
    let mut record = Record::start(live.metrics.clone(), route, id);
    record.client = about
        .get::<ClientName>()
        .and_then(|client| client.0.clone());
    record
}
