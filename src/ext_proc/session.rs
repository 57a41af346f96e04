//! One HTTP request as Envoy shows it: a state machine that takes messages and adds replies.
//!
//! The order of messages and replies differs by body mode; see [`BodyMode`] and the variants of [`Phase`].

use std::{mem, net::IpAddr, sync::Arc};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, body_mutation::Mutation, processing_request::Request,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    headers::HeadersView,
    mode::BodyMode,
    mutation::{Direction, HeaderChange, ImmediateReply},
    phase::{BodyPurpose, BodyTimeout, PendingRequest, Phase},
    prepare::{self, DecisionHeaders, PreparedRequest},
    reply::{CompleteRequest, ReplyQueue, RequestEnd, pass_body},
    source::source_address,
};
use crate::{
    api::is_media_type,
    error::Error,
    pipeline::{self, AdmittedRequest, BodyBuffer, REQUEST_ID, RequestId, RequestInfo, Route},
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

    /// When the rest of the request's body would be too late; `None` when none is awaited.
    pub fn body_timeout(&self) -> Option<BodyTimeout> {
        match &self.phase {
            Phase::ReadingBody(pending) => {
                Some(pending.body_timeout(self.request_mode, &self.state.config.server))
            }
            _ => None,
        }
    }

    /// Ends a request whose body came too slowly.
    pub fn on_timeout(&mut self, error: &Error, replies: &mut ReplyQueue) {
        self.refuse(error, replies);
        if self.only_observes {
            replies.clear();
        }
    }

    /// Lets go of the body of a request whose replies were taken.
    pub fn release_body(&mut self) {
        if let Phase::Forwarded(Some(request)) = &mut self.phase {
            request.admitted.held = None;
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
            (false, true) if is_inference => {
                BodyPurpose::FindModel(view.content_type().map(str::to_owned))
            }
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

    /// Begins to read the body of a request, or decides at once when it has none.
    async fn start_body(
        &mut self,
        view: &HeadersView,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
        let limit = self.state.config.server.max_body_bytes;
        if view.content_length().is_some_and(|length| length > limit) {
            return Err(Error::BodyTooLarge { limit });
        }
        if let Phase::ReadingBody(PendingRequest {
            purpose: BodyPurpose::Decide(requested_mode),
            ..
        }) = &mut self.phase
        {
            *requested_mode = pipeline::requested_mode(&view.headers)?;
        }
        if view.end_of_stream {
            return self.finish(RequestEnd::Headers, replies).await;
        }
        if let Some(admitted) = self.phase.admitted() {
            admitted.hold_body(&self.state, 0)?;
        }
        self.send_headers(replies);
        Ok(())
    }

    /// Takes a place in flight: what we read of the request is there.
    fn take_place(&mut self) -> Result<(), Error> {
        match self.phase.admitted() {
            Some(admitted) => admitted.take_place(&self.state),
            None => Ok(()),
        }
    }

    /// Replies to the headers at once where Envoy waits for that reply before it sends the body.
    fn send_headers(&mut self, replies: &mut ReplyQueue) {
        let Phase::ReadingBody(pending) = &mut self.phase else {
            return;
        };
        match self.request_mode {
            BodyMode::FullDuplex | BodyMode::None => {}
            BodyMode::Buffered => {
                replies.push_back(Direction::Request.headers(mem::take(&mut pending.head)));
            }
            // The body may still change after this reply, and its length with it.
            BodyMode::Streamed | BodyMode::BufferedPartial | BodyMode::Unknown => {
                pending
                    .head
                    .remove
                    .push(header::CONTENT_LENGTH.as_str().into());
                replies.push_back(Direction::Request.headers(mem::take(&mut pending.head)));
            }
        }
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

    async fn on_request_body(
        &mut self,
        body: HttpBody,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
        let Phase::ReadingBody(pending) = &mut self.phase else {
            pass_body(Direction::Request, self.request_mode, body, replies);
            return Ok(());
        };
        let limit = self.state.config.server.max_body_bytes;
        let is_last = body.end_of_stream;
        if (pending.body.len() + body.body.len()) as u64 > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        let length = pending.body.len() + body.body.len();
        pending.admitted.hold_body(&self.state, length)?;
        pending.latest_chunk = Some(tokio::time::Instant::now());
        pending.body.push(body.body.into());
        match self.request_mode {
            // One message holds the whole body, even when trailers follow it.
            BodyMode::Buffered => self.finish(RequestEnd::Body, replies).await,
            _ if is_last => self.finish(RequestEnd::Body, replies).await,
            BodyMode::FullDuplex => Ok(()),
            // Envoy will not show the rest of the body, so the request cannot be judged.
            BodyMode::BufferedPartial => {
                pipeline::check_without_body(
                    &self.state,
                    pending.admitted.caller.as_deref(),
                    false,
                )?;
                tracing::warn!(
                    "a body over Envoy's buffer limit in BUFFERED_PARTIAL mode is forwarded unjudged"
                );
                self.take_place()?;
                self.pass_through(replies);
                Ok(())
            }
            BodyMode::Streamed | BodyMode::Unknown | BodyMode::None => {
                pending.is_cleared = true;
                let cleared = Some(Mutation::ClearBody(true));
                replies.push_back(Direction::Request.body(HeaderChange::default(), cleared));
                Ok(())
            }
        }
    }

    async fn on_request_trailers(&mut self, replies: &mut ReplyQueue) -> Result<(), Error> {
        match (&self.phase, self.request_mode) {
            (Phase::ReadingBody(_), BodyMode::FullDuplex) => {
                self.finish(RequestEnd::Trailers, replies).await
            }
            // In the other modes a body can only be sent in the reply to its last chunk.
            (Phase::ReadingBody(pending), _) if !pending.body.is_empty() => Err(Error::invalid(
                "A request body that ends in trailers cannot be judged in Envoy's STREAMED mode.",
            )),
            _ => {
                replies.push_back(Direction::Request.trailers());
                Ok(())
            }
        }
    }

    /// Forwards a request unchanged whose body was being read.
    fn pass_through(&mut self, replies: &mut ReplyQueue) {
        self.phase.forward();
        replies.push_back(Direction::Request.unchanged());
    }

    /// The body is complete: decides, and forwards the request.
    async fn finish(&mut self, end: RequestEnd, replies: &mut ReplyQueue) -> Result<(), Error> {
        self.take_place()?;
        let Phase::ReadingBody(pending) = &mut self.phase else {
            return Ok(());
        };
        let body = pending.body.take();
        let prepared = match &pending.purpose {
            BodyPurpose::Decide(requested_mode) => {
                let (prepared, decision_headers) =
                    prepare::decide(&self.state, body, *requested_mode, &mut pending.admitted)
                        .await?;
                self.decision_headers = decision_headers;
                prepared
            }
            BodyPurpose::FindModel(content_type) => prepare::rename_model(
                &self.state,
                body,
                content_type.as_deref(),
                &mut pending.admitted,
            )?,
        };
        let head = mem::take(&mut pending.head);
        let is_cleared = pending.is_cleared;
        if let Some(held) = &mut pending.admitted.held
            && prepared.is_changed
        {
            held.count_copy();
        }
        self.phase.forward();
        let request = CompleteRequest {
            prepared: PreparedRequest {
                head: head.merge(prepared.head),
                ..prepared
            },
            is_cleared,
            end,
        };
        request.respond(self.request_mode, replies);
        Ok(())
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
