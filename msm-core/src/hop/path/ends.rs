//! The two ends of a path.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where packets go, and by which of our own addresses: a host with several has several paths to one place, and what answers a
/// packet leaves from where that one came to (`RFC 9000 §9.3`: a path is all of both addresses).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ends {
    /// The other member's address.
    pub remote: SocketAddr,
    /// Our own; `None` leaves it to the system.
    pub local: Option<IpAddr>,
}

impl From<SocketAddr> for Ends {
    fn from(remote: SocketAddr) -> Self {
        Self { remote, local: None }
    }
}

impl fmt::Display for Ends {
    /// The other member's address, as people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remote.fmt(f)
    }
}
