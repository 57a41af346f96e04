//! Which headers go on: everything but what belongs to one hop, what is ours, and what would change the bytes.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// True for a header that only we may set: from a client it is a wish at most, from a model server it is forged.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("x-thinkgate-")
}

/// True for a body of this media type, whatever its parameters.
pub fn is_media(headers: &HeaderMap, media: &str) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    content_type
        .and_then(|value| value.get(..media.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(media))
}

/// A client's headers, and what a model server may see of them.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// As they came.
    pub client: &'a HeaderMap,
    /// True when the answer's body is read, so that it must not be compressed.
    pub looked_at: bool,
    /// True when the client's own key goes on.
    pub pass_credentials: bool,
}

impl Head<'_> {
    /// The headers of one request to a model server. Made anew for each: most are answered at the first, which then owns them.
    pub fn for_upstream(self) -> HeaderMap {
        let stays_here = |name: &str| match name {
            "host" | "content-length" | "expect" => true,
            "authorization" | "x-api-key" => !self.pass_credentials,
            _ => false,
        };
        let dropped = dropped(self.client, stays_here);
        let mut headers = self.client.clone();
        remove(&mut headers, dropped);
        if self.looked_at && headers.contains_key(header::ACCEPT_ENCODING) {
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        headers
    }
}

/// A model server's headers as the client gets them. Our own cannot be forged by it.
pub fn for_client(mut server: HeaderMap) -> HeaderMap {
    let dropped = dropped(&server, |_| false);
    remove(&mut server, dropped);
    server
}

/// The names of those that do not go on: about the hop, ours, or `also` unwanted. Few are, so that the others are not looked up
/// one by one.
fn dropped(headers: &HeaderMap, also: impl Fn(&str) -> bool) -> Vec<HeaderName> {
    let named: Vec<&str> = listed(headers, header::CONNECTION).collect();
    let is_named = |name: &str| named.iter().any(|named| named.eq_ignore_ascii_case(name));
    let is_dropped = |name: &&HeaderName| {
        let name = name.as_str();
        is_of_the_hop(name) || is_ours(name) || also(name) || is_named(name)
    };
    headers.keys().filter(is_dropped).cloned().collect()
}

/// What a header lists, separated by commas or in lines of its own (RFC 9110, 5.3); "?" for a line that is not ASCII.
pub fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    let lines = lines.map(|value| value.to_str().unwrap_or("?"));
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// True for a header about one connection, not about the message (RFC 9110, 7.6.1).
fn is_of_the_hop(name: &str) -> bool {
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
            ("x-custom", "b"),
        ] {
            client.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let mut head = Head {
            client: &client,
            looked_at: true,
            pass_credentials: true,
        };
        assert_eq!(
            sorted(&head.for_upstream()),
            [
                ("accept-encoding", "identity"),
                ("authorization", "Bearer k"),
                ("x-custom", "a"),
                ("x-custom", "b"),
            ]
        );
        head.looked_at = false;
        assert_eq!(head.for_upstream()["accept-encoding"], "gzip");
        head.pass_credentials = false;
        assert!(!head.for_upstream().contains_key("authorization"));
        let got = for_client(client);
        assert!(got.contains_key("authorization") && !got.contains_key("x-thinkgate-mode"));
        assert_eq!(got.get_all("x-custom").iter().count(), 2);
    }
}
