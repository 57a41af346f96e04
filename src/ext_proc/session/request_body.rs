//! The body of a request: it is read chunk by chunk, within its limits, until the request can be decided and forwarded.

use std::mem;

use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, body_mutation::Mutation};
use http::header;

use super::{
    super::{
        headers::HeadersView,
        mode::BodyMode,
        mutation::{Direction, HeaderChange},
        phase::{BodyPurpose, BodyTimeout, PendingRequest, Phase},
        prepare::{self, PreparedRequest},
        reply::{CompleteRequest, ReplyQueue, RequestEnd, pass_body},
    },
    RequestSession,
};
use crate::{api::content_type, error::Error, pipeline};

impl RequestSession {
    /// Begins to read the body of a request, or decides at once when it has none.
    pub(super) async fn start_body(
        &mut self,
        view: &HeadersView,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
        let limit = self.state.config.server.max_body_bytes;
        if view.content_length().is_some_and(|length| length > limit) {
            return Err(Error::BodyTooLarge { limit });
        }
        if !view.end_of_stream {
            pipeline::check_content_coding(&view.headers)?;
        }
        if let Phase::ReadingBody(PendingRequest { purpose, .. }) = &mut self.phase {
            match purpose {
                BodyPurpose::Decide(mode) => *mode = pipeline::requested_mode(&view.headers)?,
                BodyPurpose::FindModel(found) => {
                    *found = content_type(&view.headers)?.map(str::to_owned);
                }
            }
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
    pub(super) fn take_place(&mut self) -> Result<(), Error> {
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

    pub(super) async fn on_request_body(
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

    pub(super) async fn on_request_trailers(
        &mut self,
        replies: &mut ReplyQueue,
    ) -> Result<(), Error> {
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
            BodyPurpose::FindModel(content_type) => {
                prepare::rename_model(
                    &self.state,
                    body,
                    content_type.as_deref(),
                    &mut pending.admitted,
                )
                .await?
            }
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
}
