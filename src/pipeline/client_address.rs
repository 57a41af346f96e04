//! The address of a client, also behind proxies that are trusted to name it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::config::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client. `peer`: who is connected; without it, the last address in `x-forwarded-for`, which the proxy next to
/// us has added. Where that is one of `trusted`, the header is read from its end, and the first address that is not trusted is the
/// client's. A client may have written what stands before that.
pub fn client_address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[Network],
) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.map(|peer| peer.to_canonical());
    if let Some(peer) = peer
        && !is_trusted(peer)
    {
        return Some(peer); // the common case does not look at the header
    }
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    // What is no address hides what stands before it.
    for address in hops.map_while(read_address) {
        nearest = Some(address);
        if !is_trusted(address) {
            break;
        }
    }
    nearest
}

/// Reads an address, with or without a port: `192.0.2.7`, `192.0.2.7:80`, `[2001:db8::1]:80`, `[2001:db8::1]`.
fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    parse_address(text)
}

/// As [`read_address`], of text.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().or_else(|_| with_port()).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: Option<&str>, forwarded: &[&str]) -> Option<String> {
        let trusted = ["10.0.0.0/8", "2001:db8::1"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let peer = peer.map(|peer| peer.parse().unwrap());
        client_address(peer, &headers, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_writes() {
        for forwarded in [&[][..], &["192.0.2.1"], &["10.0.0.1, 192.0.2.1"]] {
            let client = client(Some("198.51.100.9"), forwarded);
            assert_eq!(client.as_deref(), Some("198.51.100.9"));
        }
    }

    #[test]
    fn behind_trusted_proxies_the_client_is_the_last_hop_that_is_not_trusted() {
        for (forwarded, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["203.0.113.5, 192.0.2.1"], "192.0.2.1"), // the first may be forged
            (&["203.0.113.5, 192.0.2.1, 10.9.9.9"], "192.0.2.1"),
            (&["203.0.113.5", "192.0.2.1,10.9.9.9"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::7]:80, 2001:db8::1"], "2001:db8::7"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            // nothing but proxies, or what is no address
            (&[], "10.0.0.1"),
            (&["10.2.2.2, 10.3.3.3"], "10.2.2.2"),
            (&["192.0.2.1, unknown, 10.3.3.3"], "10.3.3.3"),
            (&["unknown"], "10.0.0.1"),
        ] {
            let client = client(Some("::ffff:10.0.0.1"), forwarded);
            assert_eq!(client.as_deref(), Some(expected), "{forwarded:?}");
        }
    }

    #[test]
    fn without_a_peer_the_last_hop_takes_its_place() {
        assert_eq!(client(None, &[]), None);
        let forged = ["203.0.113.5, 192.0.2.1"];
        assert_eq!(client(None, &forged).as_deref(), Some("192.0.2.1"));
        let proxied = ["192.0.2.1, 10.1.1.1"];
        assert_eq!(client(None, &proxied).as_deref(), Some("192.0.2.1"));
    }
}
