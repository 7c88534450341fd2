//! Sockets of the workers.

pub(crate) mod gather;
pub(crate) mod interface;
pub(crate) mod limits;
pub(crate) mod multicast;
pub(crate) mod pair;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;
