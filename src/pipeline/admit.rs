//! Admission, the same at both doors: the path and the key are checked, then the request gets a permit and a record.

use std::sync::Arc;

use http::HeaderMap;

use super::{Permit, RequestId, paths};
use crate::{
    auth::Caller,
    error::Error,
    state::AppState,
    telemetry::{self, Record, RequestLine},
};

/// What a door knows of a request once its headers are there.
#[derive(Debug)]
pub struct RequestInfo {
    /// The route as a label; `-` where no route takes the request.
    pub route: &'static str,
    /// The method and the path, for the log line of a refused request.
    pub line: RequestLine,
    /// `x-request-id`.
    pub id: RequestId,
    /// The owner of the key it came with; `None` where no keys are configured.
    pub caller: Option<Arc<Caller>>,
}

/// A request that was admitted. Dropping it returns its permit and writes its record.
#[derive(Debug)]
pub struct AdmittedRequest {
    /// Its place among the requests in flight.
    pub permit: Permit,
    /// What is recorded of it.
    pub record: Box<Record>,
    /// The owner of the key it came with.
    pub caller: Option<Arc<Caller>>,
}

/// Checks the path and the key of a request, and notes the key's owner in `info`. `path` is as it was sent, without the query.
///
/// # Errors
/// A 400 for a path with a dot segment, a 401 without one of our keys, a 404 for a path that a server would decode to a route
/// that has rules of its own.
pub fn guard(
    state: &AppState,
    info: &mut RequestInfo,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Error> {
    if paths::has_dot_segment(path) {
        return Err(Error::invalid("The path has a dot segment."));
    }
    info.caller = state.keys.authenticate(headers)?;
    match paths::encoded_alias(path) {
        Some(route) => Err(paths::alias_not_found(path, &route)),
        None => Ok(()),
    }
}

/// Records a request that is refused before it is admitted.
pub fn reject(state: &AppState, info: RequestInfo, error: &Error) {
    begin_record(state, info).fail(error);
}

impl AdmittedRequest {
    /// Admits a request. `headers` may carry the client's trace context. `is_counted`: it counts against the rate of its key.
    ///
    /// # Errors
    /// A 429 when `server.max_in_flight` requests are being served, or when the key's rate is used up. The request is recorded.
    pub async fn admit(
        state: &AppState,
        info: RequestInfo,
        headers: &HeaderMap,
        is_counted: bool,
    ) -> Result<Self, Error> {
        let caller = info.caller.clone();
        let mut record = begin_record(state, info);
        telemetry::set_parent(&record.span, headers);
        let limit = state.config.server.max_in_flight;
        let permit = state.concurrency.try_acquire(limit);
        let counted = caller.as_ref().filter(|_| is_counted);
        let admitted = match (permit, counted) {
            (None, _) => Err(Error::Overloaded),
            (Some(permit), None) => Ok(permit),
            (Some(permit), Some(caller)) => caller.check_rate().await.map(|()| permit),
        };
        match admitted {
            Ok(permit) => Ok(Self {
                permit,
                record,
                caller,
            }),
            Err(error) => {
                record.fail(&error);
                Err(error)
            }
        }
    }

    /// True when its key may use some models only.
    pub fn is_restricted(&self) -> bool {
        let caller = self.caller.as_ref();
        caller.is_some_and(|caller| caller.models().is_some())
    }
}

fn begin_record(state: &AppState, info: RequestInfo) -> Box<Record> {
    let mut record = Record::start(state.metrics.clone(), info.route, info.id.text);
    record.line = info.line;
    record.client = info.caller.map(|caller| caller.name.clone());
    record
}
