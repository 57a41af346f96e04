//! What Envoy says of a message's head, as far as we read it.

use envoy_types::pb::envoy::service::ext_proc::v3::HttpHeaders;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    pipeline::REQUEST_ID,
    upstream::{content_length, is_gateway_header},
};

/// The head of a request or of an answer.
#[derive(Debug, Default)]
pub struct Heard {
    /// `:method`.
    pub method: String,
    /// `:path`, without the query.
    pub path: String,
    /// `:status`.
    pub status: u16,
    /// The headers we read; others are left where they are.
    pub headers: HeaderMap,
    /// True when no body follows.
    pub is_all: bool,
}

/// The headers we read, beside our own.
const READ: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    REQUEST_ID,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

impl Heard {
    /// Reads a head. A value that is no header value is left out, as Envoy itself would not have let it in.
    pub fn read(message: HttpHeaders) -> Self {
        let mut heard = Self {
            is_all: message.end_of_stream,
            ..Self::default()
        };
        for header in message.headers.unwrap_or_default().headers {
            // Envoy sends raw bytes; others may send text.
            let value = match header.raw_value.is_empty() {
                true => header.value.into_bytes(),
                false => header.raw_value,
            };
            match header.key.as_str() {
                ":method" => heard.method = text(value),
                ":path" => heard.path = without_query(text(value)),
                ":status" => heard.status = text(value).parse().unwrap_or_default(),
                key => heard.keep(key, value),
            }
        }
        heard
    }

    fn keep(&mut self, key: &str, value: Vec<u8>) {
        let is_read = READ.iter().any(|name| name == key);
        if !is_read && !is_gateway_header(key) {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.headers.append(name, value);
        }
    }

    /// The names of our own headers in it.
    pub fn ours(&self) -> impl Iterator<Item = &str> {
        self.headers
            .keys()
            .map(HeaderName::as_str)
            .filter(|name| is_gateway_header(name))
    }

    /// The length the sender announced, in bytes.
    pub fn announced(&self) -> Option<u64> {
        content_length(&self.headers)
    }

    /// The media type.
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get(header::CONTENT_TYPE)?.to_str().ok()
    }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_default()
}

fn without_query(mut path: String) -> String {
    path.truncate(path.find('?').unwrap_or(path.len()));
    path
}
