//! Requests of this door, let in and refused in one way.

use axum::{body::Body, extract::Request, response::Response};
use http::{Extensions, request::Parts};

use super::{error_response, error_response::CameWith, request_id::RequestId};
use crate::{
    error::Error,
    pipeline::Place,
    pipeline::{self, About},
    state::AppState,
    telemetry::{Outcome, Record},
};

/// A request that was let in.
pub struct Entered(pipeline::Entered);

impl Entered {
    /// Lets a request in, and counts it against the rate of its key.
    ///
    /// # Errors
    /// The answer, when `server.max_in_flight` are being served already, or the key has no request left.
    #[expect(
        clippy::result_large_err,
        reason = "an answer is what the caller returns either way"
    )]
    pub fn enter(
        state: &AppState,
        parts: &Parts,
        body: Body,
        route: &'static str,
    ) -> Result<(Self, Body), Response> {
        let about = about(&parts.extensions, route);
        let entered = match pipeline::Entered::enter(state, about, &parts.headers) {
            Ok(entered) => Self(entered),
            Err((record, error)) => return Err(Self::failed(record, &error, Some(body))),
        };
        match entered.0.count() {
            Ok(()) => Ok((entered, body)),
            Err(error) => Err(entered.refuse(&error, Some(body))),
        }
    }

    /// The request as both doors know it.
    pub fn inner(&mut self) -> &mut pipeline::Entered {
        &mut self.0
    }

    /// What is recorded of it.
    pub fn record(&mut self) -> &mut Record {
        &mut self.0.record
    }

    /// The place and the record, for the answer's body to carry.
    pub fn into_parts(self) -> (Place, Box<Record>) {
        (self.0.place, self.0.record)
    }

    /// Answers with an error. `rest`: what of the request was not read.
    pub fn refuse(self, error: &Error, rest: Option<Body>) -> Response {
        Self::failed(self.0.record, error, rest)
    }

    /// Refuses a request that no route takes; recorded like any other.
    pub fn turn_away(state: &AppState, request: Request, error: &Error) -> Response {
        let (parts, body) = request.into_parts();
        let record = pipeline::Entered::begin(state, about(&parts.extensions, "-"));
        Self::failed(record, error, Some(body))
    }

    /// Answers with an error and closes the record.
    pub fn failed(mut record: Box<Record>, error: &Error, rest: Option<Body>) -> Response {
        record.fail(error);
        match rest {
            Some(rest) => error_response::answer_early(error, rest),
            None => error_response::answer(error),
        }
    }

    /// Answers with something made here and closes the record.
    pub fn answered(mut self, response: Response) -> Response {
        self.0.record.status = response.status().as_u16();
        self.0.record.outcome = Outcome::Complete;
        response
    }
}

/// What the middleware found out about a request.
fn about(known: &Extensions, route: &'static str) -> About {
    About {
        route,
        id: known
            .get::<RequestId>()
            .map_or_else(|| "-".into(), |id| id.0.clone()),
        caller: CameWith::of(known).cloned(),
    }
}
