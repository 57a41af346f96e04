//! One HTTP request as Envoy shows it: a state machine that takes messages and adds replies.
//!
//! The order of messages and replies differs by body mode; see [`BodyMode`] and the variants of [`Phase`].

mod request_body;

use std::{mem, net::IpAddr, sync::Arc};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpHeaders, ProcessingRequest, processing_request::Request,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    headers::HeadersView,
    mode::BodyMode,
    mutation::{Direction, HeaderChange, ImmediateReply},
    phase::{BodyPurpose, PendingRequest, Phase},
    prepare::DecisionHeaders,
    reply::{ReplyQueue, pass_body},
    source::source_address,
};
use crate::{
    api::{BodyBuffer, is_media_type},
    error::Error,
    pipeline::{self, AdmittedRequest, REQUEST_ID, RequestId, RequestInfo, Route},
    state::AppState,
    telemetry::{Outcome, RequestLine},
    upstream::{OwnAddress, relocate},
};

/// One HTTP request and its response.
pub struct RequestSession {
    state: Arc<AppState>,
    request_mode: BodyMode,
    response_mode: BodyMode,
    /// True when Envoy takes no replies (`observability_mode`).
    only_observes: bool,
    phase: Phase,
    /// The address of the client, where Envoy says it.
    source: Option<IpAddr>,
    id: HeaderValue,
    /// The `:authority` of the request, by which a server's redirect names itself.
    authority: String,
    /// The decision, for the headers of the response.
    decision_headers: DecisionHeaders,
}

impl RequestSession {
    /// A session before its first message.
    pub fn new(state: Arc<AppState>) -> Self {
        Self {
            state,
            request_mode: BodyMode::Unknown,
            response_mode: BodyMode::Unknown,
            only_observes: false,
            phase: Phase::Start,
            source: None,
            id: HeaderValue::from_static("-"),
            authority: String::new(),
            decision_headers: DecisionHeaders::new(),
        }
    }

    /// True when no more replies will follow.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Takes a message and adds the replies to it. A filter that only observes gets no replies.
    pub async fn on_message(&mut self, message: ProcessingRequest, replies: &mut ReplyQueue) {
        if let Some(config) = &message.protocol_config {
            (self.request_mode, self.response_mode) = BodyMode::of(config);
        }
        self.only_observes = message.observability_mode;
        self.source = self.source.or_else(|| source_address(&message));
        if let Some(part) = message.request
            && let Err(error) = self.dispatch(part, replies).await
        {
            self.refuse(&error, replies);
        }
        if self.only_observes {
            replies.clear();
        }
    }

    async fn dispatch(&mut self, part: Request, replies: &mut ReplyQueue) -> Result<(), Error> {
        match part {
            Request::RequestHeaders(head) => self.on_request_headers(head, replies).await,
            Request::RequestBody(body) => self.on_request_body(body, replies).await,
            Request::RequestTrailers(_) => self.on_request_trailers(replies).await,
            Request::ResponseHeaders(head) => self.on_response_headers(head, replies),
            Request::ResponseBody(body) => {
                pass_body(Direction::Response, self.response_mode, body, replies);
                Ok(())
            }
            Request::ResponseTrailers(_) => {
                replies.push_back(Direction::Response.trailers());
                Ok(())
            }
        }
    }

    /// Ends the request with an error response. Its record ends as failed.
    fn refuse(&mut self, error: &Error, replies: &mut ReplyQueue) {
        if let Some(admitted) = self.phase.admitted() {
            admitted.record.fail(error);
        }
        self.phase = Phase::Ended;
        replies.clear(); // earlier replies would forward the request
        replies.push_back(ImmediateReply::refusal(error).into_response(&self.id));
    }

    async fn on_request_headers(
        &mut self,
        head: HttpHeaders,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
        let mut view = HeadersView::read(head);
        self.authority = mem::take(&mut view.authority);
        let id = RequestId::of(&view.headers);
        self.id = id.header.clone();
        let mut info = RequestInfo {
            route: "-",
            line: RequestLine::from_text(&view.method, &view.path),
            id,
            caller: None,
            peer: self.source,
        };
        let route = match self.check(&mut info, &view) {
            Ok(route) => route,
            Err(error) => {
                pipeline::reject(&self.state, info, &error);
                return Err(error);
            }
        };
        info.route = route.label();
        let is_judged = matches!(route, Route::Judged(_)) && view.method != "OPTIONS";
        let is_inference = matches!(route, Route::Judged(_) | Route::Forwarded(_));
        let admitted =
            AdmittedRequest::admit(&self.state, info, &view.headers, is_inference).await?;
        if let Route::Models(id) = &route
            && admitted.is_restricted()
            && view.method != "OPTIONS"
        {
            return self.list(admitted, id.as_deref(), replies);
        }
        let head = self.sanitize_headers(&view);
        let has_body = !view.end_of_stream && self.request_mode != BodyMode::None;
        let purpose = match (is_judged, has_body) {
            // A chat request without a body is refused. A chat request whose body Envoy does not show is forwarded.
            (true, _) if has_body || view.end_of_stream => BodyPurpose::Decide(None),
            (false, true) if is_inference => BodyPurpose::FindModel(None),
            _ => {
                let caller = admitted.caller.clone();
                self.phase = Phase::forwarded(admitted);
                self.take_place()?;
                if is_inference {
                    pipeline::check_without_body(
                        &self.state,
                        caller.as_deref(),
                        view.end_of_stream,
                    )?;
                }
                replies.push_back(Direction::Request.headers(head));
                return Ok(());
            }
        };
        self.phase = Phase::ReadingBody(PendingRequest {
            admitted,
            purpose,
            head,
            body: BodyBuffer::default(),
            is_cleared: false,
            since: tokio::time::Instant::now(),
            latest_chunk: None,
        });
        self.start_body(&view, replies).await
    }

    /// Checks the key, the path and the method, and says what the path names.
    fn check<'v>(&self, info: &mut RequestInfo, view: &'v HeadersView) -> Result<Route<'v>, Error> {
        pipeline::guard(&self.state, info, &view.method, &view.headers)?;
        // Envoy's route may have a prefix in front of /v1.
        let route = Route::behind_prefix(&view.path)?;
        let is_allowed = match (&route, &*view.method) {
            (_, "OPTIONS") => true, // a browser's preflight, which Envoy or the server answers
            (Route::Judged(_), method) => method == "POST",
            (Route::Forwarded(label), method) => label.starts_with("/v1/") || method == "POST",
            (Route::Models(_) | Route::Unlisted, _) => true,
        };
        let passes_unguarded = || {
            let ext_proc = self.state.config.ext_proc.as_ref();
            let is_set = ext_proc.is_some_and(|ext_proc| ext_proc.unguarded_paths);
            is_set && self.state.keys.allow_anonymous()
        };
        match route {
            _ if !is_allowed => Err(Error::MethodNotAllowed(view.method.clone())),
            Route::Unlisted if !passes_unguarded() => Err(pipeline::unlisted(&view.path)),
            // No server has another method here today; whatever one does with it, it is guarded like any other request.
            Route::Models(_) if !matches!(&*view.method, "GET" | "HEAD" | "OPTIONS") => {
                Ok(Route::Forwarded("/v1/*"))
            }
            route => Ok(route),
        }
    }

    /// Answers with the models that the key may use; the server would list all of them. `id`: only with this one.
    fn list(
        &mut self,
        admitted: AdmittedRequest,
        id: Option<&str>,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
        let caller = admitted.caller.clone();
        self.phase = Phase::forwarded(admitted);
        let found = match id {
            None => pipeline::list_models(&self.state, caller.as_deref()),
            Some(id) => pipeline::get_model(&self.state, caller.as_deref(), id)?,
        };
        if let Some(admitted) = self.phase.admitted() {
            admitted.record.status = StatusCode::OK.as_u16();
            admitted.record.outcome = Outcome::Complete;
        }
        self.phase = Phase::Ended;
        replies.push_back(ImmediateReply::json(found).into_response(&self.id));
        Ok(())
    }

    /// The changes to the headers of any request: a client cannot set our headers, and a key of ours is not forwarded.
    fn sanitize_headers(&self, view: &HeadersView) -> HeaderChange {
        let mut head = HeaderChange::default();
        head.remove.extend(view.own_headers().map(str::to_owned));
        head.clear_route_cache = !head.remove.is_empty();
        if !self.state.keys.allow_anonymous() {
            let credentials = ["authorization", "x-api-key"];
            head.remove.extend(
                credentials
                    .into_iter()
                    .filter(|name| view.headers.contains_key(*name))
                    .map(str::to_owned),
            );
        }
        if view.headers.get(REQUEST_ID) != Some(&self.id) {
            head.set(REQUEST_ID, self.id.clone());
        }
        head
    }

    /// Adds the decision to the response's headers and removes any headers in our name that the server set.
    ///
    /// # Errors
    /// A 502 for a redirect that leads to another address than the one that the client wrote.
    fn on_response_headers(
        &mut self,
        head: HttpHeaders,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
        let view = HeadersView::read(head);
        let location = self.relative_location(&view)?;
        let elapsed = match &self.phase {
            Phase::Forwarded(Some(request)) => Some(request.since.elapsed()),
            _ => None,
        };
        if let Some(admitted) = self.phase.admitted() {
            let record = &mut admitted.record;
            record.status = view.status;
            record.stream = is_media_type(&view.headers, "text/event-stream");
            record.headers_s = elapsed.map(|elapsed| elapsed.as_secs_f64());
            record.outcome = Outcome::Complete; // Envoy does not show the rest
        }
        if self.only_observes {
            self.phase = Phase::Forwarded(None); // Envoy keeps such a stream open for seconds after its request ended
        }
        let mut change = HeaderChange {
            remove: view.own_headers().map(str::to_owned).collect(),
            set: mem::take(&mut self.decision_headers),
            clear_route_cache: false,
        };
        change.set(REQUEST_ID, self.id.clone());
        match location {
            Some(location) => change.set(header::LOCATION, location),
            None if view.headers.contains_key(header::LOCATION) => {
                change.remove.push(header::LOCATION.as_str().into());
            }
            None => {}
        }
        replies.push_back(Direction::Response.headers(change));
        Ok(())
    }

    /// The `location` of a response as a client may see it.
    ///
    /// # Errors
    /// A 502 for a redirect that leads elsewhere.
    fn relative_location(&self, view: &HeadersView) -> Result<Option<HeaderValue>, Error> {
        let Some(location) = view.headers.get(header::LOCATION) else {
            return Ok(None);
        };
        let mut headers = HeaderMap::from_iter([(header::LOCATION, location.clone())]);
        let status = StatusCode::from_u16(view.status).unwrap_or_default();
        let own = OwnAddress {
            base: &format!("http://{}", self.authority),
            any_scheme: true,
        };
        relocate(status, &mut headers, own)?;
        Ok(headers.remove(header::LOCATION))
    }
}
