//! One HTTP request as Envoy tells it: a state machine that hears messages and gives answers.
//!
//! What may be said when differs by body mode; see [`BodyMode`] and the variants of [`Stage`].

use std::{mem, sync::Arc};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, body_mutation::Mutation, processing_request::Request,
};
use http::{HeaderValue, StatusCode, header};

use super::{
    body::Pieces,
    delivery::{Answers, End, Whole, pass},
    headers::Heard,
    mode::BodyMode,
    mutation::{HeaderChange, Immediate, Way},
    prepare::{self, Prepared, Told},
    stage::{Purpose, Reading, Stage},
};
use crate::{
    api::CHAT,
    error::Error,
    pipeline::{self, AdmittedRequest, REQUEST_ID, RequestId, RequestInfo},
    state::AppState,
    telemetry::Outcome,
};

/// One HTTP request and its answer.
pub struct Exchange {
    state: Arc<AppState>,
    request_mode: BodyMode,
    response_mode: BodyMode,
    /// True when Envoy wants no answers (`observability_mode`).
    only_observes: bool,
    stage: Stage,
    id: HeaderValue,
    /// What the client is to be told of the decision.
    told: Told,
}

impl Exchange {
    /// An exchange of which nothing is known yet.
    pub fn new(state: Arc<AppState>) -> Self {
        Self {
            state,
            request_mode: BodyMode::Unsaid,
            response_mode: BodyMode::Unsaid,
            only_observes: false,
            stage: Stage::Start,
            id: HeaderValue::from_static("-"),
            told: Told::new(),
        }
    }

    /// True when nothing more will be answered.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Hears a message and adds what there is to answer; nothing at all to a filter that only observes.
    pub async fn hear(&mut self, message: ProcessingRequest, answers: &mut Answers) {
        if let Some(config) = &message.protocol_config {
            (self.request_mode, self.response_mode) = BodyMode::of(config);
        }
        self.only_observes = message.observability_mode;
        if let Some(part) = message.request
            && let Err(error) = self.answer(part, answers).await
        {
            self.refuse(&error, answers);
        }
        if self.only_observes {
            answers.clear();
        }
    }

    async fn answer(&mut self, part: Request, answers: &mut Answers) -> Result<(), Error> {
        match part {
            Request::RequestHeaders(head) => self.request_head(head, answers).await,
            Request::RequestBody(body) => self.request_body(body, answers).await,
            Request::RequestTrailers(_) => self.request_trailers(answers).await,
            Request::ResponseHeaders(head) => {
                self.response_head(head, answers);
                Ok(())
            }
            Request::ResponseBody(body) => {
                pass(Way::Response, self.response_mode, body, answers);
                Ok(())
            }
            Request::ResponseTrailers(_) => {
                answers.push_back(Way::Response.trailers());
                Ok(())
            }
        }
    }

    /// Ends the request with an answer of ours. What was read of it is closed as failed.
    fn refuse(&mut self, error: &Error, answers: &mut Answers) {
        if let Some(admitted) = self.stage.admitted() {
            admitted.record.fail(error);
        }
        self.stage = Stage::Over;
        answers.clear(); // answers not given yet would speak of a request that goes on
        answers.push_back(Immediate::refusal(error).answer(&self.id));
    }

    async fn request_head(
        &mut self,
        head: HttpHeaders,
        answers: &mut Answers,
    ) -> Result<(), Error> {
        let heard = Heard::read(head);
        let id = RequestId::of(&heard.headers);
        self.id = id.header.clone();
        // A prefix in front of /v1 is the route's business.
        let path = pipeline::percent_decoded(&heard.path);
        let is_judged = path.ends_with(CHAT) && heard.method == "POST";
        let path = path.find("/v1/").map_or(&*path, |at| &path[at..]);
        let is_inference = pipeline::is_inference(path);
        let info = RequestInfo {
            route: match (is_judged, is_inference) {
                (true, _) => CHAT,
                (false, true) => pipeline::route_label(path),
                (false, false) => "-",
            },
            id,
            caller: None,
        };
        let listed = pipeline::listed_models(path);
        let is_counted = is_judged || (is_inference && listed.is_none());
        let admitted = self.admit(info, &heard, is_counted)?;
        if let Some(listed) = listed.filter(|_| admitted.is_restricted() && heard.method == "GET") {
            return self.list(admitted, listed, answers);
        }
        let head = self.cleaned(&heard);
        let has_body = !heard.is_all && self.request_mode != BodyMode::None;
        let purpose = match (is_judged, has_body) {
            // A chat request without a body is refused as such; one whose body Envoy does not show goes on.
            (true, _) if has_body || heard.is_all => Purpose::Judge(None),
            (false, true) if is_inference => Purpose::Name(heard.content_type().map(str::to_owned)),
            _ => {
                let caller = admitted.caller.clone();
                self.stage = Stage::sent(admitted);
                if is_inference {
                    pipeline::check_without_body(&self.state, caller.as_deref(), heard.is_all)?;
                }
                answers.push_back(Way::Request.headers(head));
                return Ok(());
            }
        };
        self.stage = Stage::Reading(Reading {
            admitted,
            purpose,
            head,
            body: Pieces::default(),
            is_cleared: false,
        });
        self.read(&heard, answers).await
    }

    /// Answers with what a key may use of the models, which the server would all list. `listed`: what follows `/v1/models`.
    fn list(
        &mut self,
        admitted: AdmittedRequest,
        listed: &str,
        answers: &mut Answers,
    ) -> Result<(), Error> {
        let caller = admitted.caller.clone();
        self.stage = Stage::sent(admitted);
        let found = match listed.strip_prefix('/') {
            None => pipeline::list(&self.state, caller.as_deref()),
            Some(id) => pipeline::one(&self.state, caller.as_deref(), id)?,
        };
        if let Some(admitted) = self.stage.admitted() {
            admitted.record.status = StatusCode::OK.as_u16();
            admitted.record.outcome = Outcome::Complete;
        }
        self.stage = Stage::Over;
        answers.push_back(Immediate::found(found).answer(&self.id));
        Ok(())
    }

    /// Begins to read the body of a request, if there may be one.
    async fn read(&mut self, heard: &Heard, answers: &mut Answers) -> Result<(), Error> {
        let limit = self.state.config.server.max_body_bytes;
        if heard.announced().is_some_and(|length| length > limit) {
            return Err(Error::BodyTooLarge { limit });
        }
        if let Stage::Reading(Reading {
            purpose: Purpose::Judge(wish),
            ..
        }) = &mut self.stage
        {
            *wish = pipeline::requested_mode(&heard.headers)?;
        }
        if heard.is_all {
            return self.finish(End::Head, answers).await;
        }
        self.send_head(answers);
        Ok(())
    }

    /// Admits the request, or records why not. `is_counted`: it counts against the rate of its key.
    fn admit(
        &self,
        mut info: RequestInfo,
        heard: &Heard,
        is_counted: bool,
    ) -> Result<AdmittedRequest, Error> {
        if let Err(error) = pipeline::guard(&self.state, &mut info, &heard.path, &heard.headers) {
            pipeline::reject(&self.state, info, &error);
            return Err(error);
        }
        AdmittedRequest::admit(&self.state, info, &heard.headers, is_counted)
    }

    /// Answers a head at once where Envoy waits for that before it sends the body.
    fn send_head(&mut self, answers: &mut Answers) {
        let Stage::Reading(reading) = &mut self.stage else {
            return;
        };
        match self.request_mode {
            BodyMode::FullDuplex | BodyMode::None => {}
            BodyMode::Buffered => {
                answers.push_back(Way::Request.headers(mem::take(&mut reading.head)));
            }
            // The body may change after the head has gone, and with it the length.
            BodyMode::Streamed | BodyMode::Partial | BodyMode::Unsaid => {
                reading
                    .head
                    .remove
                    .push(header::CONTENT_LENGTH.as_str().into());
                answers.push_back(Way::Request.headers(mem::take(&mut reading.head)));
            }
        }
    }

    /// What changes in any request's head: nobody steers by headers of ours, and a key of ours goes no further.
    fn cleaned(&self, heard: &Heard) -> HeaderChange {
        let mut head = HeaderChange::default();
        head.remove.extend(heard.ours().map(str::to_owned));
        head.reroute = !head.remove.is_empty();
        if !self.state.keys.allow_anonymous() {
            let credentials = ["authorization", "x-api-key"];
            head.remove.extend(
                credentials
                    .into_iter()
                    .filter(|name| heard.headers.contains_key(*name))
                    .map(str::to_owned),
            );
        }
        if heard.headers.get(REQUEST_ID) != Some(&self.id) {
            head.set(REQUEST_ID, self.id.clone());
        }
        head
    }

    async fn request_body(&mut self, body: HttpBody, answers: &mut Answers) -> Result<(), Error> {
        let Stage::Reading(reading) = &mut self.stage else {
            pass(Way::Request, self.request_mode, body, answers);
            return Ok(());
        };
        let limit = self.state.config.server.max_body_bytes;
        let is_last = body.end_of_stream;
        if (reading.body.len() + body.body.len()) as u64 > limit {
            return Err(Error::BodyTooLarge { limit });
        }
        reading.body.push(body.body.into());
        match self.request_mode {
            // One message is all, even when trailers follow it.
            BodyMode::Buffered => self.finish(End::Body, answers).await,
            _ if is_last => self.finish(End::Body, answers).await,
            BodyMode::FullDuplex => Ok(()),
            // The rest of it will never be shown, so it cannot be judged.
            BodyMode::Partial => {
                pipeline::check_without_body(
                    &self.state,
                    reading.admitted.caller.as_deref(),
                    false,
                )?;
                tracing::warn!(
                    "a body over Envoy's buffer limit in BUFFERED_PARTIAL mode goes on unjudged"
                );
                self.let_go(answers);
                Ok(())
            }
            BodyMode::Streamed | BodyMode::Unsaid | BodyMode::None => {
                reading.is_cleared = true;
                let cleared = Some(Mutation::ClearBody(true));
                answers.push_back(Way::Request.body(HeaderChange::default(), cleared));
                Ok(())
            }
        }
    }

    async fn request_trailers(&mut self, answers: &mut Answers) -> Result<(), Error> {
        match (&self.stage, self.request_mode) {
            (Stage::Reading(_), BodyMode::FullDuplex) => self.finish(End::Trailers, answers).await,
            // In the other modes the last chance to send a body was the answer to its last piece.
            (Stage::Reading(reading), _) if reading.body.len() > 0 => Err(Error::invalid(
                "A request body that ends in trailers cannot be judged in Envoy's STREAMED mode.",
            )),
            _ => {
                answers.push_back(Way::Request.trailers());
                Ok(())
            }
        }
    }

    /// Lets a request that was being read go on as it came.
    fn let_go(&mut self, answers: &mut Answers) {
        self.stage.send();
        answers.push_back(Way::Request.unchanged());
    }

    /// The body is all there: decides, and sends the request on.
    async fn finish(&mut self, end: End, answers: &mut Answers) -> Result<(), Error> {
        let Stage::Reading(reading) = &mut self.stage else {
            return Ok(());
        };
        let body = mem::take(&mut reading.body).into_bytes();
        let prepared = match &reading.purpose {
            Purpose::Judge(wish) => {
                let (prepared, told) =
                    prepare::judged(&self.state, body, *wish, &mut reading.admitted).await?;
                self.told = told;
                prepared
            }
            Purpose::Name(content_type) => prepare::named(
                &self.state,
                body,
                content_type.as_deref(),
                &mut reading.admitted,
            )?,
        };
        let head = mem::take(&mut reading.head);
        let is_cleared = reading.is_cleared;
        self.stage.send();
        let whole = Whole {
            prepared: Prepared {
                head: head.and(prepared.head),
                ..prepared
            },
            is_cleared,
            end,
        };
        whole.deliver(self.request_mode, answers);
        Ok(())
    }

    /// Tells the client what was decided, and keeps what a server says in our name from it.
    fn response_head(&mut self, head: HttpHeaders, answers: &mut Answers) {
        let heard = Heard::read(head);
        let since = match &self.stage {
            Stage::Sent(Some(sent)) => Some(sent.at.elapsed()),
            _ => None,
        };
        if let Some(admitted) = self.stage.admitted() {
            let record = &mut admitted.record;
            record.status = heard.status;
            record.stream = heard
                .content_type()
                .is_some_and(|media| media.starts_with("text/event-stream"));
            record.headers_s = since.map(|since| since.as_secs_f64());
            record.outcome = Outcome::Complete; // the rest is Envoy's to see
        }
        if self.only_observes {
            self.stage = Stage::Sent(None); // Envoy keeps such a stream for seconds after its request is over
        }
        let mut change = HeaderChange {
            remove: heard.ours().map(str::to_owned).collect(),
            set: mem::take(&mut self.told),
            reroute: false,
        };
        change.set(REQUEST_ID, self.id.clone());
        answers.push_back(Way::Response.headers(change));
    }
}
