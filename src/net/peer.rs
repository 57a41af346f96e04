//! Who is at the other end of a connection.

use std::net::IpAddr;

/// The address at the other end of the connection that a request came over. Every request has it among its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);
