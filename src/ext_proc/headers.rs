//! The headers of a request or a response, as Envoy shows them.

use envoy_types::pb::envoy::service::ext_proc::v3::HttpHeaders;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    pipeline::REQUEST_ID,
    upstream::{self, is_gateway_header},
};

/// The parts of a message's headers that we read.
#[derive(Debug, Default)]
pub struct HeadersView {
    /// `:method`.
    pub method: String,
    /// `:path`, without the query.
    pub path: String,
    /// `:authority`.
    pub authority: String,
    /// `:status`.
    pub status: u16,
    /// The headers that we read, and our own. The others stay in Envoy.
    pub headers: HeaderMap,
    /// True when no body follows.
    pub end_of_stream: bool,
}

/// The headers that we read, beside our own.
const READ_HEADERS: [HeaderName; 11] = [
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::UPGRADE,
    REQUEST_ID,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

impl HeadersView {
    /// Reads the headers of a message. Skips invalid values; Envoy itself refuses such requests.
    pub fn read(message: HttpHeaders) -> Self {
        let mut view = Self {
            end_of_stream: message.end_of_stream,
            ..Self::default()
        };
        for header in message.headers.unwrap_or_default().headers {
            // Envoy sends raw bytes; others may send text.
            let value = match header.raw_value.is_empty() {
                true => header.value.into_bytes(),
                false => header.raw_value,
            };
            match header.key.as_str() {
                ":method" => view.method = text(value),
                ":path" => view.path = without_query(String::from_utf8_lossy(&value).into_owned()),
                ":authority" => view.authority = text(value),
                ":status" => view.status = text(value).parse().unwrap_or_default(),
                key => view.insert(key, value),
            }
        }
        view
    }

    fn insert(&mut self, key: &str, value: Vec<u8>) {
        let is_read = READ_HEADERS.iter().any(|name| name == key);
        if !is_read && !is_gateway_header(key) {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.headers.append(name, value);
        }
    }

    /// The names of our own headers among them.
    pub fn own_headers(&self) -> impl Iterator<Item = &str> {
        self.headers
            .keys()
            .map(HeaderName::as_str)
            .filter(|name| is_gateway_header(name))
    }

    /// The announced length of the body, in bytes.
    pub fn content_length(&self) -> Option<u64> {
        upstream::content_length(&self.headers)
    }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap_or_default()
}

fn without_query(mut path: String) -> String {
    path.truncate(path.find('?').unwrap_or(path.len()));
    path
}
