//! Which headers are forwarded: all except hop-by-hop headers, our own, and those that would change the bytes.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// True for a header that only the gateway may set. A client's is at most a request to us, a model server's is forged.
pub fn is_gateway_header(name: &str) -> bool {
    name.starts_with("x-thinkgate-")
}

/// The body length that a message announces, in bytes; `None` if there is no `Content-Length` or it cannot be read.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// A client's headers, and which of them a model server may see.
#[derive(Debug, Clone, Copy)]
pub struct ForwardHeaders<'a> {
    /// The headers as the client sent them.
    pub client: &'a HeaderMap,
    /// True if the answer's body is read and therefore must not be compressed.
    pub inspect_response: bool,
    /// True if the client's own key is forwarded.
    pub pass_credentials: bool,
}

impl ForwardHeaders<'_> {
    /// The headers of one attempt. They are built for each attempt, because most requests need only one, which then owns them.
    pub fn for_upstream(self) -> HeaderMap {
        let is_replaced = |name: &str| match name {
            "host" | "content-length" | "expect" => true,
            "authorization" | "x-api-key" => !self.pass_credentials,
            _ => false,
        };
        let mut headers = self.client.clone();
        remove(&mut headers, dropped(self.client, is_replaced));
        if self.inspect_response && headers.contains_key(header::ACCEPT_ENCODING) {
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        headers
    }
}

/// A model server's headers as the client gets them.
pub fn for_client(mut server: HeaderMap) -> HeaderMap {
    let dropped = dropped(&server, |_| false);
    remove(&mut server, dropped);
    server
}

/// The names of the headers that are not forwarded: hop-by-hop headers, our own, and those for which `also` is true. There are
/// few, so that the others need no lookup.
fn dropped(headers: &HeaderMap, also: impl Fn(&str) -> bool) -> Vec<HeaderName> {
    let in_connection: Vec<&str> = list_items(headers, header::CONNECTION).collect();
    let is_in_connection = |name: &str| {
        let mut items = in_connection.iter();
        items.any(|item| item.eq_ignore_ascii_case(name))
    };
    let is_dropped = |name: &&HeaderName| {
        let name = name.as_str();
        is_hop_by_hop(name) || is_gateway_header(name) || also(name) || is_in_connection(name)
    };
    headers.keys().filter(is_dropped).cloned().collect()
}

/// The items of a list header, separated by commas or in several lines (RFC 9110, 5.3). A line that is not ASCII gives "?".
pub fn list_items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    let lines = lines.map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// True for a header that belongs to one connection, not to the message (RFC 9110, 7.6.1).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

fn remove(headers: &mut HeaderMap, names: Vec<HeaderName>) {
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let pairs = headers.iter();
        let mut pairs: Vec<_> = pairs
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn hop_by_hop_headers_and_our_own_are_not_forwarded() {
        let mut client = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("keep-alive", "5"),
            ("host", "gate"),
            ("content-length", "7"),
            ("expect", "100-continue"),
            ("x-thinkgate-mode", "direct"),
            ("accept-encoding", "gzip"),
            ("x-custom", "a"),
            ("authorization", "Bearer k"),
            ("x-custom", "b"),
        ] {
            client.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let mut forward = ForwardHeaders {
            client: &client,
            inspect_response: true,
            pass_credentials: true,
        };
        assert_eq!(
            sorted(&forward.for_upstream()),
            [
                ("accept-encoding", "identity"),
                ("authorization", "Bearer k"),
                ("x-custom", "a"),
                ("x-custom", "b"),
            ]
        );
        forward.inspect_response = false;
        assert_eq!(forward.for_upstream()["accept-encoding"], "gzip");
        forward.pass_credentials = false;
        assert!(!forward.for_upstream().contains_key("authorization"));
        let got = for_client(client);
        assert!(got.contains_key("authorization") && !got.contains_key("x-thinkgate-mode"));
        assert_eq!(got.get_all("x-custom").iter().count(), 2);
    }
}
