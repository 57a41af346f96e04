//! The replies that forward a request, in the order that its body mode requires.

use std::collections::VecDeque;

use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, ProcessingResponse, body_mutation::Mutation,
};
use http::header;

use super::{
    mode::BodyMode,
    mutation::{Direction, HeaderChange},
    prepare::PreparedRequest,
};

/// Replies to Envoy, in order.
pub type ReplyQueue = VecDeque<ProcessingResponse>;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestEnd {
    /// With its headers.
    Headers,
    /// With the last chunk of its body.
    Body,
    /// With trailers.
    Trailers,
}

/// A request that is complete and will be forwarded.
pub struct CompleteRequest {
    /// The headers and body to forward. Its header changes include all that no reply has carried yet.
    pub prepared: PreparedRequest,
    /// True when replies cleared earlier chunks of the body.
    pub is_cleared: bool,
    /// How it ended.
    pub end: RequestEnd,
}

impl CompleteRequest {
    /// Adds the replies that forward it.
    pub fn respond(self, mode: BodyMode, replies: &mut ReplyQueue) {
        let PreparedRequest {
            mut head,
            body,
            is_changed,
        } = self.prepared;
        let replaced = is_changed || self.is_cleared;
        match mode {
            // No reply was given yet: the headers come first, and Envoy counts the bytes itself.
            BodyMode::FullDuplex => {
                if is_changed {
                    head.remove.push(header::CONTENT_LENGTH.as_str().into());
                }
                replies.push_back(Direction::Request.headers(head));
                replies.extend(Direction::Request.chunks(body, self.end != RequestEnd::Trailers));
                if self.end == RequestEnd::Trailers {
                    replies.push_back(Direction::Request.trailers());
                }
                return;
            }
            // Envoy fails a request whose length is not that of its new body.
            BodyMode::Buffered if is_changed => head.set(header::CONTENT_LENGTH, body.len()),
            // The headers are already forwarded, or Envoy would apply the change only sometimes, depending on how the body arrives.
            BodyMode::Streamed => head = HeaderChange::default(),
            _ => {}
        }
        let body = replaced.then(|| Mutation::Body(body.into()));
        replies.push_back(Direction::Request.body(head, body));
    }
}

/// Replies to a chunk of a body that we do not change.
pub fn pass_body(direction: Direction, mode: BodyMode, chunk: HttpBody, replies: &mut ReplyQueue) {
    match mode {
        // A chunk that no reply carries is lost.
        BodyMode::FullDuplex => {
            replies.extend(direction.chunks(chunk.body.into(), chunk.end_of_stream))
        }
        _ => replies.push_back(direction.unchanged()),
    }
}
