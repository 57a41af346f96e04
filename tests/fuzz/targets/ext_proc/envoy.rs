//! Envoy's filter as far as it judges answers: what it would take for a fault of ours ends the process here.

use envoy_types::pb::envoy::{
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::{
        CommonResponse, ProcessingRequest, ProcessingResponse, body_mutation::Mutation,
        processing_request::Request, processing_response::Response,
    },
};

/// The most that one `streamed_response` may carry.
const CHUNK: usize = 64 << 10;

/// How far a direction of the exchange is, in what Envoy said and in what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
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
    /// What was said and what was answered: of the request, of the answer.
    said: [Reached; 2],
    answered: [Reached; 2],
    /// True while everything was said as Envoy says it; what else is answered to is of no matter.
    pub is_sane: bool,
    is_first: bool,
    is_mode_said: bool,
    observes: bool,
    is_refused: bool,
    /// The request's body as it came and as it goes on.
    pub came: Vec<u8>,
    pub goes: Vec<u8>,
}

impl Default for Envoy {
    fn default() -> Self {
        Self {
            mode: BodySendMode::Streamed, // an old Envoy that does not say
            said: [Reached::Nothing; 2],
            answered: [Reached::Nothing; 2],
            is_sane: true,
            is_first: true,
            is_mode_said: false,
            observes: false,
            is_refused: false,
            came: Vec::new(),
            goes: Vec::new(),
        }
    }
}

impl Envoy {
    /// Envoy says this.
    pub fn says(&mut self, message: &ProcessingRequest) {
        if let Some(config) = &message.protocol_config {
            let mode = BodySendMode::try_from(config.request_body_mode);
            self.is_sane &= self.is_first
                && mode.is_ok()
                && config.request_body_mode == config.response_body_mode;
            self.mode = mode.unwrap_or_default();
            self.is_mode_said = true;
        }
        // An Envoy that only observes does so from the first message to the last, and nothing it is told counts.
        self.observes |= self.is_first && message.observability_mode;
        self.is_sane &= self.observes == message.observability_mode;
        self.is_first = false;
        use Reached::{Body, End, Head, Nothing, Trailers};
        let (way, now) = match &message.request {
            Some(Request::RequestHeaders(head)) => (0, if head.end_of_stream { End } else { Head }),
            Some(Request::RequestBody(body)) => {
                self.came.extend_from_slice(&body.body);
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
        let before = self.said[way];
        self.is_sane &= match is_head {
            true => {
                before == Nothing && (way == 0 || self.said[0] >= End || self.answered[0] >= Head)
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
        self.said[way] = now;
    }

    /// Envoy hears what was answered to its last message.
    pub fn hears(
        &mut self,
        message: &ProcessingRequest,
        answers: &[ProcessingResponse],
        is_over: bool,
    ) {
        if message.observability_mode {
            return assert!(
                answers.is_empty(),
                "an answer to a filter that only observes"
            );
        }
        let is_refused = |answer: &ProcessingResponse| {
            matches!(answer.response, Some(Response::ImmediateResponse(_)))
        };
        if answers.iter().any(is_refused) {
            assert!(
                answers.len() == 1 && is_over,
                "something beside a refusal: {answers:?}"
            );
            self.is_refused = true;
            return;
        }
        assert!(!is_over, "an end without a word");
        if self.mode != BodySendMode::FullDuplexStreamed {
            let due = usize::from(message.request.is_some());
            assert!(answers.len() <= due, "too many answers: {answers:?}");
            assert!(
                answers.len() == due || !self.is_sane,
                "no answer to {message:?}"
            );
        }
        for answer in answers {
            self.hear(message, answer);
        }
    }

    fn hear(&mut self, message: &ProcessingRequest, answer: &ProcessingResponse) {
        let response = answer.response.as_ref().expect("an answer says something");
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
        let (way, now) = match response {
            Response::RequestHeaders(_) => (0, Reached::Head),
            Response::ResponseHeaders(_) => (1, Reached::Head),
            Response::RequestBody(body) => (0, self.body(message, 0, body.response.as_ref())),
            Response::ResponseBody(body) => (1, self.body(message, 1, body.response.as_ref())),
            Response::RequestTrailers(_) => (0, Reached::Trailers),
            Response::ResponseTrailers(_) => (1, Reached::Trailers),
            other => panic!("{other:?}"),
        };
        let before = self.answered[way];
        match now {
            Reached::Head => assert_eq!(before, Reached::Nothing, "a head twice"),
            _ => assert!(
                matches!(before, Reached::Head | Reached::Body),
                "{now:?} after {before:?}"
            ),
        }
        assert!(
            !is_full || now <= self.said[way] || self.said[way] >= Reached::End,
            "{now:?} was not said"
        );
        self.answered[way] = now;
    }

    /// A piece of a body is answered.
    fn body(
        &mut self,
        message: &ProcessingRequest,
        way: usize,
        common: Option<&CommonResponse>,
    ) -> Reached {
        let common = common.expect("a body answer says something");
        let mutation = common
            .body_mutation
            .as_ref()
            .and_then(|body| body.mutation.as_ref());
        if self.mode == BodySendMode::FullDuplexStreamed {
            let Some(Mutation::StreamedResponse(piece)) = mutation else {
                panic!("full duplex takes streamed responses only: {mutation:?}")
            };
            assert!(
                piece.body.len() <= CHUNK,
                "a piece of {} bytes",
                piece.body.len()
            );
            if way == 0 {
                self.goes.extend_from_slice(&piece.body);
            }
            return if piece.end_of_stream {
                Reached::End
            } else {
                Reached::Body
            };
        }
        let (Some(Request::RequestBody(came)), 0) = (message.request.as_ref(), way) else {
            assert!(mutation.is_none(), "the answer's body is not ours");
            return Reached::Body;
        };
        let head = common.header_mutation.as_ref();
        match mutation {
            None => self.goes.extend_from_slice(&came.body),
            Some(Mutation::ClearBody(true)) => {}
            Some(Mutation::Body(body)) => {
                self.goes.extend_from_slice(body);
                for option in head.iter().flat_map(|head| &head.set_headers) {
                    let pair = option.header.as_ref().expect("a header to set");
                    if pair.key == "content-length" {
                        assert_eq!(pair.raw_value, body.len().to_string().into_bytes());
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        let has_gone = self.mode == BodySendMode::Streamed && self.is_mode_said;
        assert!(!has_gone || head.is_none(), "the head has gone");
        Reached::Body
    }

    /// True when all of the request was said and, as far as it is known, has gone on.
    pub fn has_gone(&self) -> bool {
        let is_all = match self.mode {
            BodySendMode::FullDuplexStreamed => self.answered[0] >= Reached::End,
            _ => self.answered[0] >= Reached::Head,
        };
        self.is_sane && !self.observes && !self.is_refused && self.said[0] >= Reached::End && is_all
    }
}
