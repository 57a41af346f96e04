//! Who a request counts for, where places, bytes and turns are shared out.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Who a request counts for: its key or, without keys, its client's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Tenant {
    /// The key of this name.
    Key(Arc<str>),
    /// The client at this address; of IPv6 the first 64 bits, because a client has all addresses of such a network.
    Address(IpAddr),
    /// Nobody knows. All such requests count together.
    #[default]
    Unknown,
}

impl Tenant {
    /// The client at this address.
    pub fn at(address: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            address => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_client_are_one_tenant() {
        let tenant = |text: &str| Tenant::at(text.parse().unwrap());
        assert_eq!(tenant("::ffff:192.0.2.7"), tenant("192.0.2.7"));
        assert_eq!(tenant("2001:db8::1"), tenant("2001:db8::ffff:1:2:3"));
        assert_ne!(tenant("2001:db8::1"), tenant("2001:db8:0:1::1"));
        assert_ne!(tenant("192.0.2.7"), tenant("192.0.2.8"));
    }
}
