//! Answers to Envoy: continue, with these headers and this body, or stop and tell the client this.

use bytes::Bytes;
use envoy_types::pb::envoy::{
    config::core::v3::{
        HeaderValue as Pair, HeaderValueOption, header_value_option::HeaderAppendAction,
    },
    service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse,
        ImmediateResponse, ProcessingResponse, StreamedBodyResponse, TrailersResponse,
        body_mutation::Mutation, processing_response::Response,
    },
    r#type::v3::HttpStatus,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::{error::Error, pipeline::REQUEST_ID};

/// The most a `streamed_response` may carry, in bytes (Envoy's documentation of FULL_DUPLEX_STREAMED).
const CHUNK: usize = 64 << 10;

/// What changes in a head.
#[derive(Debug, Default, Clone)]
pub struct HeaderChange {
    /// Taken out.
    pub remove: Vec<String>,
    /// Put in place of any value that is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// True when the route has to be chosen anew.
    pub reroute: bool,
}

impl HeaderChange {
    /// Puts `name` in place of any value that is there.
    pub fn set(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.set.push((name, value.into()));
    }

    /// The two changes as one; what is set by `then` wins.
    pub fn and(mut self, then: Self) -> Self {
        self.remove.extend(then.remove);
        self.set.extend(then.set);
        self.reroute |= then.reroute;
        self
    }

    fn common(self) -> CommonResponse {
        let is_empty = self.remove.is_empty() && self.set.is_empty();
        let mutation = HeaderMutation {
            // Envoy removes before it sets; a name in both lists ends up set.
            remove_headers: self.remove,
            set_headers: self.set.into_iter().map(option).collect(),
        };
        CommonResponse {
            header_mutation: (!is_empty).then_some(mutation),
            clear_route_cache: self.reroute,
            ..CommonResponse::default()
        }
    }
}

fn option((name, value): (HeaderName, HeaderValue)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Pair {
            key: name.as_str().to_owned(),
            raw_value: value.as_bytes().to_vec(),
            ..Pair::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

fn answer(response: Response) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(response),
        ..ProcessingResponse::default()
    }
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Request,
    /// And back.
    Response,
}

impl Way {
    /// The head goes on, changed.
    pub fn headers(self, change: HeaderChange) -> ProcessingResponse {
        let response = HeadersResponse {
            response: Some(change.common()),
        };
        answer(match self {
            Self::Request => Response::RequestHeaders(response),
            Self::Response => Response::ResponseHeaders(response),
        })
    }

    /// A piece of the body goes on as `body`, or as it came; the head is changed with it where Envoy still holds it.
    pub fn body(self, change: HeaderChange, body: Option<Mutation>) -> ProcessingResponse {
        let common = CommonResponse {
            body_mutation: body.map(|mutation| BodyMutation {
                mutation: Some(mutation),
            }),
            ..change.common()
        };
        let response = BodyResponse {
            response: Some(common),
        };
        answer(match self {
            Self::Request => Response::RequestBody(response),
            Self::Response => Response::ResponseBody(response),
        })
    }

    /// A piece of the body goes on as it came.
    pub fn unchanged(self) -> ProcessingResponse {
        self.body(HeaderChange::default(), None)
    }

    /// A body in the pieces that FULL_DUPLEX_STREAMED takes. `ends`: nothing follows, not even trailers.
    pub fn pieces(self, body: Bytes, ends: bool) -> impl Iterator<Item = ProcessingResponse> {
        let count = body.len().div_ceil(CHUNK).max(1);
        (0..count).map(move |index| {
            let piece = body.slice(index * CHUNK..body.len().min((index + 1) * CHUNK));
            let streamed = StreamedBodyResponse {
                body: piece.into(),
                end_of_stream: ends && index + 1 == count,
                ..StreamedBodyResponse::default()
            };
            self.body(
                HeaderChange::default(),
                Some(Mutation::StreamedResponse(streamed)),
            )
        })
    }

    /// The trailers go on as they came.
    pub fn trailers(self) -> ProcessingResponse {
        answer(match self {
            Self::Request => Response::RequestTrailers(TrailersResponse::default()),
            Self::Response => Response::ResponseTrailers(TrailersResponse::default()),
        })
    }
}

/// An answer of our own: the request goes no further.
pub struct Immediate {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Value,
    /// What became of the request, in a word.
    reason: &'static str,
}

impl Immediate {
    /// Tells the client why not, as the HTTP door would.
    pub fn refusal(error: &Error) -> Self {
        Self {
            status: error.status(),
            headers: error.headers().collect(),
            body: error.body(),
            reason: error.reason(),
        }
    }

    /// Gives the client what it asked for.
    pub fn found(body: Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            status: StatusCode::OK,
            headers: vec![(header::CONTENT_TYPE, json)],
            body,
            reason: "complete",
        }
    }

    /// The message to Envoy.
    pub fn answer(self, request_id: &HeaderValue) -> ProcessingResponse {
        let mut change = HeaderChange {
            set: self.headers,
            ..HeaderChange::default()
        };
        change.set(REQUEST_ID, request_id.clone());
        answer(Response::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus {
                code: self.status.as_u16().into(),
            }),
            headers: change.common().header_mutation,
            body: self.body.to_string().into_bytes(),
            details: format!("thinkgate_{}", self.reason), // `response_code_details` in Envoy's access log
            ..ImmediateResponse::default()
        }))
    }
}
