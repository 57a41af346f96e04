//! A request on its way to Envoy again, in the way of its body mode.

use std::collections::VecDeque;

use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpBody, ProcessingResponse, body_mutation::Mutation,
};
use http::header;

use super::{
    mode::BodyMode,
    mutation::{HeaderChange, Way},
    prepare::Prepared,
};

/// Answers to Envoy, in order.
pub type Answers = VecDeque<ProcessingResponse>;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its head.
    Head,
    /// With the last piece of its body.
    Body,
    /// With trailers.
    Trailers,
}

/// A request that is all there and goes on.
pub struct Whole {
    /// What goes on; its head with every change that was not answered yet.
    pub prepared: Prepared,
    /// True when pieces of the body were answered by clearing them.
    pub is_cleared: bool,
    /// How it ended.
    pub end: End,
}

impl Whole {
    /// Adds the answers that send it on.
    pub fn deliver(self, mode: BodyMode, answers: &mut Answers) {
        let Prepared {
            mut head,
            body,
            is_changed,
        } = self.prepared;
        let replaced = is_changed || self.is_cleared;
        match mode {
            // Nothing was answered yet: the head comes first, and Envoy counts the bytes itself.
            BodyMode::FullDuplex => {
                if is_changed {
                    head.remove.push(header::CONTENT_LENGTH.as_str().into());
                }
                answers.push_back(Way::Request.headers(head));
                answers.extend(Way::Request.pieces(body, self.end != End::Trailers));
                if self.end == End::Trailers {
                    answers.push_back(Way::Request.trailers());
                }
                return;
            }
            // Envoy fails a request whose length is not that of its new body.
            BodyMode::Buffered if is_changed => head.set(header::CONTENT_LENGTH, body.len()),
            // The head is gone, or Envoy would take its change now and then, as bodies happen to come.
            BodyMode::Streamed => head = HeaderChange::default(),
            _ => {}
        }
        let body = replaced.then(|| Mutation::Body(body.into()));
        answers.push_back(Way::Request.body(head, body));
    }
}

/// A piece of a body that is not ours to change.
pub fn pass(way: Way, mode: BodyMode, piece: HttpBody, answers: &mut Answers) {
    match mode {
        // What is not given back would be lost.
        BodyMode::FullDuplex => answers.extend(way.pieces(piece.body.into(), piece.end_of_stream)),
        _ => answers.push_back(way.unchanged()),
    }
}
