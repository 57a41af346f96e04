//! Builds replies to Envoy: continue with changed headers or body, or answer the client at once.

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

/// The most bytes that a `streamed_response` may carry (Envoy's documentation of FULL_DUPLEX_STREAMED).
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Changes to the headers of a message.
#[derive(Debug, Default, Clone)]
pub struct HeaderChange {
    /// Headers to remove.
    pub remove: Vec<String>,
    /// Headers to set; each replaces any value that is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// True when Envoy has to choose the route again.
    pub clear_route_cache: bool,
}

impl HeaderChange {
    /// Sets `name`; replaces any value that is there.
    pub fn set(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.set.push((name, value.into()));
    }

    /// The two changes as one. Where both set a header, `then` wins.
    pub fn merge(mut self, then: Self) -> Self {
        self.remove.extend(then.remove);
        self.set.extend(then.set);
        self.clear_route_cache |= then.clear_route_cache;
        self
    }

    fn into_common(self) -> CommonResponse {
        let is_empty = self.remove.is_empty() && self.set.is_empty();
        let mutation = HeaderMutation {
            // Envoy removes before it sets; a name in both lists ends up set.
            remove_headers: self.remove,
            set_headers: self.set.into_iter().map(option).collect(),
        };
        CommonResponse {
            header_mutation: (!is_empty).then_some(mutation),
            clear_route_cache: self.clear_route_cache,
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

fn reply(response: Response) -> ProcessingResponse {
    ProcessingResponse {
        response: Some(response),
        ..ProcessingResponse::default()
    }
}

/// The direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Request,
    /// From the server to the client.
    Response,
}

impl Direction {
    /// Continues with changed headers.
    pub fn headers(self, change: HeaderChange) -> ProcessingResponse {
        let response = HeadersResponse {
            response: Some(change.into_common()),
        };
        reply(match self {
            Self::Request => Response::RequestHeaders(response),
            Self::Response => Response::ResponseHeaders(response),
        })
    }

    /// Continues with `body` in place of a chunk, or with the chunk itself. Changes the headers too where Envoy still holds them.
    pub fn body(self, change: HeaderChange, body: Option<Mutation>) -> ProcessingResponse {
        let common = CommonResponse {
            body_mutation: body.map(|mutation| BodyMutation {
                mutation: Some(mutation),
            }),
            ..change.into_common()
        };
        let response = BodyResponse {
            response: Some(common),
        };
        reply(match self {
            Self::Request => Response::RequestBody(response),
            Self::Response => Response::ResponseBody(response),
        })
    }

    /// Continues with an unchanged chunk.
    pub fn unchanged(self) -> ProcessingResponse {
        self.body(HeaderChange::default(), None)
    }

    /// Continues with a body in chunks, for FULL_DUPLEX_STREAMED. `ends`: nothing follows it, not even trailers.
    pub fn chunks(self, body: Bytes, ends: bool) -> impl Iterator<Item = ProcessingResponse> {
        let count = body.len().div_ceil(MAX_CHUNK_BYTES).max(1);
        (0..count).map(move |index| {
            let start = index * MAX_CHUNK_BYTES;
            let chunk = body.slice(start..body.len().min(start + MAX_CHUNK_BYTES));
            let streamed = StreamedBodyResponse {
                body: chunk.into(),
                end_of_stream: ends && index + 1 == count,
                ..StreamedBodyResponse::default()
            };
            self.body(
                HeaderChange::default(),
                Some(Mutation::StreamedResponse(streamed)),
            )
        })
    }

    /// Continues with unchanged trailers.
    pub fn trailers(self) -> ProcessingResponse {
        reply(match self {
            Self::Request => Response::RequestTrailers(TrailersResponse::default()),
            Self::Response => Response::ResponseTrailers(TrailersResponse::default()),
        })
    }
}

/// A response from us to the client; the request is not forwarded.
pub struct ImmediateReply {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Value,
    /// The outcome of the request, as one word.
    reason: &'static str,
}

impl ImmediateReply {
    /// The same error response that the HTTP door gives.
    pub fn refusal(error: &Error) -> Self {
        Self {
            status: error.status(),
            headers: error.headers().collect(),
            body: error.body(),
            reason: error.reason(),
        }
    }

    /// A 200 with a JSON body.
    pub fn json(body: Value) -> Self {
        let json = HeaderValue::from_static("application/json");
        Self {
            status: StatusCode::OK,
            headers: vec![(header::CONTENT_TYPE, json)],
            body,
            reason: "complete",
        }
    }

    /// The reply to Envoy.
    pub fn into_response(self, request_id: &HeaderValue) -> ProcessingResponse {
        let mut change = HeaderChange {
            set: self.headers,
            ..HeaderChange::default()
        };
        change.set(REQUEST_ID, request_id.clone());
        reply(Response::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus {
                code: self.status.as_u16().into(),
            }),
            headers: change.into_common().header_mutation,
            body: self.body.to_string().into_bytes(),
            details: format!("thinkgate_{}", self.reason), // `response_code_details` in Envoy's access log
            ..ImmediateResponse::default()
        }))
    }
}
