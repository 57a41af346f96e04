//! The messages of one stream as text that people can write and a fuzzer can cut: one line per message, its first byte is the kind.
//!
//! | line | message |
//! |---|---|
//! | `!streamed keyed` | which gateway, and the body mode: `buffered`, `streamed`, `full`, `partial`, `none`; `observes` |
//! | `>POST /v1/models a=b` | the request's head; `.` in place of `>`: it is all of the request |
//! | `{..` | a piece of its body, the line itself; `}`: the last piece, the line without the `}` |
//! | `#` | a piece of 70,000 blanks |
//! | `t` | its trailers |
//! | `<200 a=b` | the head of the answer |
//! | `[..` `]..` `T` | its body and trailers |
//! | `p..` | a message as Protocol Buffers write it |

use envoy_types::pb::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode,
    service::ext_proc::v3::{
        HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest, ProtocolConfiguration,
        processing_request::Request,
    },
};
use prost::Message;

/// One stream.
#[derive(Debug, Default)]
pub struct Script {
    /// Requires keys.
    pub is_keyed: bool,
    /// Has no models, so that any name is accepted.
    pub is_open: bool,
    /// The messages, in order.
    pub messages: Vec<ProcessingRequest>,
}

impl Script {
    /// Reads a script; any input is one. Input that begins with a zero byte is length-prefixed messages.
    pub fn read(input: &[u8]) -> Self {
        if let Some(mut rest) = input.strip_prefix(&[0]) {
            let next = || ProcessingRequest::decode_length_delimited(&mut rest).ok();
            let messages = std::iter::from_fn(next).take(64).collect();
            return Self {
                messages,
                ..Self::default()
            };
        }
        let mut script = Self::default();
        let (mut config, mut observability_mode) = (None, false);
        for line in input.split(|byte| *byte == b'\n') {
            let Some((kind, rest)) = line.split_first() else {
                continue;
            };
            let words = String::from_utf8_lossy(rest);
            let request = match kind {
                b'!' => {
                    script.is_keyed = words.contains("keyed");
                    script.is_open = words.contains("open");
                    observability_mode = words.contains("observes");
                    config = mode(&words);
                    continue;
                }
                b'>' | b'.' => Request::RequestHeaders(head(&words, *kind == b'.')),
                b'{' => Request::RequestBody(body(line, false)),
                b'}' => Request::RequestBody(body(rest, true)),
                b'#' => Request::RequestBody(body(&[b' '; 70_000], false)),
                b't' => Request::RequestTrailers(HttpTrailers::default()),
                b'<' => Request::ResponseHeaders(answer(&words)),
                b'[' => Request::ResponseBody(body(rest, false)),
                b']' => Request::ResponseBody(body(rest, true)),
                b'T' => Request::ResponseTrailers(HttpTrailers::default()),
                b'p' => {
                    script.messages.extend(ProcessingRequest::decode(rest));
                    continue;
                }
                _ => continue,
            };
            script.messages.push(ProcessingRequest {
                request: Some(request),
                protocol_config: config.take(), // Envoy sends it with its first message
                observability_mode,
                ..ProcessingRequest::default()
            });
        }
        script
    }
}

fn mode(words: &str) -> Option<ProtocolConfiguration> {
    let mode = words.split(' ').find_map(|word| match word {
        "buffered" => Some(BodySendMode::Buffered),
        "streamed" => Some(BodySendMode::Streamed),
        "full" => Some(BodySendMode::FullDuplexStreamed),
        "partial" => Some(BodySendMode::BufferedPartial),
        "none" => Some(BodySendMode::None),
        _ => None,
    })?;
    Some(ProtocolConfiguration {
        request_body_mode: mode.into(),
        response_body_mode: mode.into(),
        ..ProtocolConfiguration::default()
    })
}

fn head(words: &str, end_of_stream: bool) -> HttpHeaders {
    let mut words = words.split(' ');
    let pseudo = [":method", ":path"].map(|key| (key, words.next().unwrap_or_default()));
    headers(
        pseudo
            .into_iter()
            .chain(words.filter_map(|word| word.split_once('='))),
        end_of_stream,
    )
}

fn answer(words: &str) -> HttpHeaders {
    let mut words = words.split(' ');
    let status = (":status", words.next().unwrap_or_default());
    headers(
        [status]
            .into_iter()
            .chain(words.filter_map(|word| word.split_once('='))),
        false,
    )
}

fn headers<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    end_of_stream: bool,
) -> HttpHeaders {
    let headers = pairs.map(|(key, value)| HeaderValue {
        key: key.into(),
        raw_value: value.replace('+', " ").into_bytes(),
        ..HeaderValue::default()
    });
    HttpHeaders {
        headers: Some(HeaderMap {
            headers: headers.collect(),
        }),
        end_of_stream,
        ..HttpHeaders::default()
    }
}

fn body(piece: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody {
        body: piece.to_vec(),
        end_of_stream,
        ..HttpBody::default()
    }
}
