//! Envoy's filter as far as it checks replies: a reply that Envoy would reject fails the fuzz target.

use envoy_types::pb::envoy::{
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::{
        CommonResponse, ProcessingRequest, ProcessingResponse, body_mutation::Mutation,
        processing_request::Request, processing_response::Response,
    },
};

/// The most bytes that one `streamed_response` may carry.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// How far one direction has come, in Envoy's messages or in the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Nothing,
    Head,
    Body,
    End,
    Trailers,
}

/// One stream as Envoy sees it.
#[derive(Debug)]
pub struct Envoy {
    mode: BodySendMode,
    /// The messages and the replies so far: for the request, for the response.
    sent: [Progress; 2],
    answered: [Progress; 2],
    /// True while all messages are in an order that Envoy sends. Other replies are not checked.
    pub is_sane: bool,
    is_first: bool,
    is_mode_named: bool,
    observes: bool,
    is_refused: bool,
    /// The request's body as Envoy sent it and as it is forwarded.
    pub original: Vec<u8>,
    pub forwarded: Vec<u8>,
}

impl Default for Envoy {
    fn default() -> Self {
        Self {
            mode: BodySendMode::Streamed, // an old Envoy that names no mode
            sent: [Progress::Nothing; 2],
            answered: [Progress::Nothing; 2],
            is_sane: true,
            is_first: true,
            is_mode_named: false,
            observes: false,
            is_refused: false,
            original: Vec::new(),
            forwarded: Vec::new(),
        }
    }
}

impl Envoy {
    /// Envoy sends a message.
    pub fn on_message(&mut self, message: &ProcessingRequest) {
        if let Some(config) = &message.protocol_config {
            let mode = BodySendMode::try_from(config.request_body_mode);
            self.is_sane &= self.is_first
                && mode.is_ok()
                && config.request_body_mode == config.response_body_mode;
            self.mode = mode.unwrap_or_default();
            self.is_mode_named = true;
        }
        // An Envoy that only observes does so from the first message to the last, and ignores replies.
        self.observes |= self.is_first && message.observability_mode;
        self.is_sane &= self.observes == message.observability_mode;
        self.is_first = false;
        use Progress::{Body, End, Head, Nothing, Trailers};
        let (direction, now) = match &message.request {
            Some(Request::RequestHeaders(head)) => (0, if head.end_of_stream { End } else { Head }),
            Some(Request::RequestBody(body)) => {
                self.original.extend_from_slice(&body.body);
                (0, if body.end_of_stream { End } else { Body })
            }
            Some(Request::RequestTrailers(_)) => (0, Trailers),
            Some(Request::ResponseHeaders(head)) => {
                (1, if head.end_of_stream { End } else { Head })
            }
            Some(Request::ResponseBody(body)) => (1, if body.end_of_stream { End } else { Body }),
            Some(Request::ResponseTrailers(_)) => (1, Trailers),
            None => return self.is_sane = false,
        };
        let is_head = matches!(
            &message.request,
            Some(Request::RequestHeaders(_) | Request::ResponseHeaders(_))
        );
        let before = self.sent[direction];
        self.is_sane &= match is_head {
            true => {
                before == Nothing
                    && (direction == 0 || self.sent[0] >= End || self.answered[0] >= Head)
            }
            false => {
                matches!(before, Head | Body)
                    && (now == Trailers || self.mode != BodySendMode::None)
            }
        };
        if self.mode == BodySendMode::Buffered && now == Body {
            // One message is the whole body; only trailers may follow.
            self.is_sane &= before == Head;
        }
        self.sent[direction] = now;
    }

    /// Envoy gets the replies to its last message.
    pub fn on_replies(
        &mut self,
        message: &ProcessingRequest,
        replies: &[ProcessingResponse],
        is_over: bool,
    ) {
        if message.observability_mode {
            return assert!(replies.is_empty(), "a reply to a filter that only observes");
        }
        let is_refused = |answer: &ProcessingResponse| {
            matches!(answer.response, Some(Response::ImmediateResponse(_)))
        };
        if replies.iter().any(is_refused) {
            assert!(
                replies.len() == 1 && is_over,
                "more than one reply with a refusal: {replies:?}"
            );
            self.is_refused = true;
            return;
        }
        assert!(!is_over, "an end without a reply");
        if self.mode != BodySendMode::FullDuplexStreamed {
            let due = usize::from(message.request.is_some());
            assert!(replies.len() <= due, "too many replies: {replies:?}");
            assert!(
                replies.len() == due || !self.is_sane,
                "no reply to {message:?}"
            );
        }
        for answer in replies {
            self.check_reply(message, answer);
        }
    }

    fn check_reply(&mut self, message: &ProcessingRequest, answer: &ProcessingResponse) {
        let response = answer.response.as_ref().expect("a reply has a response");
        let is_full = self.mode == BodySendMode::FullDuplexStreamed;
        if !is_full {
            let is_of_its_kind = matches!(
                (message.request.as_ref(), response),
                (
                    Some(Request::RequestHeaders(_)),
                    Response::RequestHeaders(_)
                ) | (Some(Request::RequestBody(_)), Response::RequestBody(_))
                    | (
                        Some(Request::RequestTrailers(_)),
                        Response::RequestTrailers(_)
                    )
                    | (
                        Some(Request::ResponseHeaders(_)),
                        Response::ResponseHeaders(_)
                    )
                    | (Some(Request::ResponseBody(_)), Response::ResponseBody(_))
                    | (
                        Some(Request::ResponseTrailers(_)),
                        Response::ResponseTrailers(_)
                    )
            );
            assert!(is_of_its_kind, "{answer:?} to {message:?}");
        }
        if !self.is_sane {
            return;
        }
        let (direction, now) = match response {
            Response::RequestHeaders(_) => (0, Progress::Head),
            Response::ResponseHeaders(_) => (1, Progress::Head),
            Response::RequestBody(body) => (0, self.body(message, 0, body.response.as_ref())),
            Response::ResponseBody(body) => (1, self.body(message, 1, body.response.as_ref())),
            Response::RequestTrailers(_) => (0, Progress::Trailers),
            Response::ResponseTrailers(_) => (1, Progress::Trailers),
            other => panic!("{other:?}"),
        };
        let before = self.answered[direction];
        match now {
            Progress::Head => assert_eq!(before, Progress::Nothing, "headers twice"),
            _ => assert!(
                matches!(before, Progress::Head | Progress::Body),
                "{now:?} after {before:?}"
            ),
        }
        assert!(
            !is_full || now <= self.sent[direction] || self.sent[direction] >= Progress::End,
            "{now:?} was not sent by Envoy"
        );
        self.answered[direction] = now;
    }

    /// Checks the reply to a chunk of a body.
    fn body(
        &mut self,
        message: &ProcessingRequest,
        direction: usize,
        common: Option<&CommonResponse>,
    ) -> Progress {
        let common = common.expect("a body reply has a response");
        let mutation = common
            .body_mutation
            .as_ref()
            .and_then(|body| body.mutation.as_ref());
        if self.mode == BodySendMode::FullDuplexStreamed {
            let Some(Mutation::StreamedResponse(piece)) = mutation else {
                panic!("full duplex takes streamed responses only: {mutation:?}")
            };
            assert!(
                piece.body.len() <= MAX_CHUNK_BYTES,
                "a chunk of {} bytes",
                piece.body.len()
            );
            if direction == 0 {
                self.forwarded.extend_from_slice(&piece.body);
            }
            return if piece.end_of_stream {
                Progress::End
            } else {
                Progress::Body
            };
        }
        let (Some(Request::RequestBody(chunk)), 0) = (message.request.as_ref(), direction) else {
            assert!(
                mutation.is_none(),
                "the response's body is not ours to change"
            );
            return Progress::Body;
        };
        let head = common.header_mutation.as_ref();
        match mutation {
            None => self.forwarded.extend_from_slice(&chunk.body),
            Some(Mutation::ClearBody(true)) => {}
            Some(Mutation::Body(body)) => {
                self.forwarded.extend_from_slice(body);
                for option in head.iter().flat_map(|head| &head.set_headers) {
                    let pair = option.header.as_ref().expect("a header to set");
                    if pair.key == "content-length" {
                        assert_eq!(pair.raw_value, body.len().to_string().into_bytes());
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        let has_gone = self.mode == BodySendMode::Streamed && self.is_mode_named;
        assert!(
            !has_gone || head.is_none(),
            "the headers are already forwarded"
        );
        Progress::Body
    }

    /// True when the whole request was sent and, as far as Envoy can tell, forwarded.
    pub fn is_forwarded(&self) -> bool {
        let is_all = match self.mode {
            BodySendMode::FullDuplexStreamed => self.answered[0] >= Progress::End,
            _ => self.answered[0] >= Progress::Head,
        };
        self.is_sane
            && !self.observes
            && !self.is_refused
            && self.sent[0] >= Progress::End
            && is_all
    }
}
