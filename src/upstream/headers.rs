//! Which headers go on: everything but what belongs to one hop, what is ours, and what would change the bytes.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers about one connection, not about the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// True for a header that only we may set: from a client it is a wish at most, from a model server it is forged.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("x-thinkgate-")
}

/// The client's headers as a model server gets them. `looked_at`: the answer's body is read, so it must not be compressed.
pub fn for_upstream(client: &HeaderMap, looked_at: bool) -> HeaderMap {
    let mut headers = without_hop(client);
    for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
        headers.remove(name);
    }
    if looked_at && headers.contains_key(header::ACCEPT_ENCODING) {
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
    }
    headers
}

/// A model server's headers as the client gets them. Our own cannot be forged by it.
pub fn for_client(server: &HeaderMap) -> HeaderMap {
    without_hop(server)
}

fn without_hop(from: &HeaderMap) -> HeaderMap {
    let named: Vec<&str> = from
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
        .collect();
    let is_named = |name: &HeaderName| {
        named
            .iter()
            .any(|named| named.trim().eq_ignore_ascii_case(name.as_str()))
    };
    let mut to = HeaderMap::with_capacity(from.len() + 6);
    for (name, value) in from {
        if !HOP_BY_HOP.contains(name) && !is_ours(name.as_str()) && !is_named(name) {
            to.append(name, value.clone());
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_one_hop_or_to_us_stays_behind() {
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
        ] {
            client.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let got = for_upstream(&client, true);
        let mut names: Vec<_> = got
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                ("accept-encoding", "identity"),
                ("authorization", "Bearer k"),
                ("x-custom", "a"),
            ]
        );
        assert_eq!(for_upstream(&client, false)["accept-encoding"], "gzip");
    }
}
