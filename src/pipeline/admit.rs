//! Admission, the same at both doors: the key is checked, then the request gets a record, room for its body and, when its body is
//! there, a place in flight.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::{HeaderMap, Method, header};

use super::{BudgetLimits, HeldBytes, Permit, PlaceLimits, RequestId, TenantShare, client_address};
use crate::{
    auth::Caller,
    error::{Error, Overload},
    state::AppState,
    telemetry::{self, Record, RequestLine},
    tenant::Tenant,
    upstream::list_items,
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
    /// The address that it comes from: a client's or a proxy's.
    pub peer: Option<IpAddr>,
}

/// A request that was admitted. Dropping it returns what it holds and writes its record.
#[derive(Debug)]
pub struct AdmittedRequest {
    /// Its place among the requests in flight, from the end of its body.
    pub permit: Option<Permit>,
    /// What is held of its body. It has to live as long as the body's bytes do.
    pub held: Option<HeldBytes>,
    /// Who it counts for.
    pub share: TenantShare,
    /// What is recorded of it.
    pub record: Box<Record>,
    /// The owner of the key it came with.
    pub caller: Option<Arc<Caller>>,
}

/// Checks the method, the key and the protocol of a request, and notes the key's owner in `info`.
///
/// # Errors
/// A 405 for `TRACE` and `CONNECT`, a 401 without one of our keys, a 501 for an offer of a websocket.
pub fn guard(
    state: &AppState,
    info: &mut RequestInfo,
    method: &str,
    headers: &HeaderMap,
) -> Result<(), Error> {
    if method == Method::TRACE.as_str() || method == Method::CONNECT.as_str() {
        return Err(Error::MethodNotAllowed(method.to_owned()));
    }
    info.caller = state.keys.authenticate(headers)?;
    let mut offers = list_items(headers, header::UPGRADE);
    // Any other offer, such as Java's `h2c`, is ignored: it is only an offer.
    if offers.any(|offer| offer.eq_ignore_ascii_case("websocket")) {
        return Err(Error::Unsupported(
            "There are no websockets here. Send a POST, and `stream: true` for a stream.",
        ));
    }
    Ok(())
}

/// Records a request that is refused before it is admitted.
pub fn reject(state: &AppState, info: RequestInfo, error: &Error) {
    begin_record(state, info).fail(error);
}

impl AdmittedRequest {
    /// Admits a request whose body is still to come. `headers` may carry the client's trace context. `is_counted`: it counts
    /// against the rate of its key.
    ///
    /// # Errors
    /// A 429 when `server.max_in_flight` requests are being served, or when the key's rate is used up. The request is recorded. One
    /// that comes while all places are taken does not use up the rate.
    pub async fn admit(
        state: &AppState,
        info: RequestInfo,
        headers: &HeaderMap,
        is_counted: bool,
    ) -> Result<Self, Error> {
        let caller = info.caller.clone();
        let share = tenant_share(state, &info, headers);
        let mut record = begin_record(state, info);
        telemetry::set_parent(&record.span, headers);
        let is_full = state.concurrency.in_use() >= state.config.server.max_in_flight;
        let counted = caller.as_ref().filter(|_| is_counted);
        let admitted = match counted {
            _ if is_full => Err(Error::Overloaded(Overload::Places)),
            None => Ok(()),
            Some(caller) => caller.check_rate().await,
        };
        match admitted {
            Ok(()) => Ok(Self {
                permit: None,
                held: None,
                share,
                record,
                caller,
            }),
            Err(error) => {
                record.fail(&error);
                Err(error)
            }
        }
    }

    /// Makes room for its body, of which `length` bytes are there.
    ///
    /// # Errors
    /// A 429 when the bodies of all requests are at `server.max_buffered_bytes`.
    pub fn hold_body(&mut self, state: &AppState, length: usize) -> Result<(), Error> {
        let held = match &mut self.held {
            Some(held) => held,
            none => {
                let limits = BudgetLimits::of(&state.config.server);
                none.insert(state.body_budget.hold(&self.share, limits)?)
            }
        };
        held.grow_to(length)
    }

    /// Takes a place in flight: its body is there. A request that has one keeps it.
    ///
    /// # Errors
    /// A 429 when no place is free for it.
    pub fn take_place(&mut self, state: &AppState) -> Result<(), Error> {
        if self.permit.is_none() {
            let limits = PlaceLimits {
                all: state.config.server.max_in_flight,
                of_key: self.caller.as_ref().and_then(|caller| caller.max_in_flight),
            };
            self.permit = Some(state.concurrency.try_acquire(&self.share, limits)?);
        }
        Ok(())
    }

    /// True when its key may use some models only.
    pub fn is_restricted(&self) -> bool {
        let caller = self.caller.as_ref();
        caller.is_some_and(|caller| caller.models().is_some())
    }
}

/// Who the request counts for: its key or, where there are none, its client's address.
fn tenant_share(state: &AppState, info: &RequestInfo, headers: &HeaderMap) -> TenantShare {
    let trusted = &state.config.server.trusted_proxies;
    let tenant = match &info.caller {
        Some(caller) => Tenant::Key(caller.name.clone()),
        None => client_address(info.peer, headers, trusted).map_or(Tenant::Unknown, Tenant::at),
    };
    let mut share = state.holdings.enter(tenant, Instant::now());
    if !state.keys.allow_anonymous() {
        share.has_others = state.keys.count() > 1;
    }
    share
}

fn begin_record(state: &AppState, info: RequestInfo) -> Box<Record> {
    let mut record = Record::start(state.metrics.clone(), info.route, info.id.text);
    record.line = info.line;
    record.client = info.caller.map(|caller| caller.name.clone());
    record
}
