//! `sockaddr_in` and `sockaddr_in6` as bytes, in the kernel's layout.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for a `sockaddr_in6`, the longer of the two.
pub(crate) const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();

/// Length of a `sockaddr_in`.
const NAME_V4_BYTES: usize = size_of::<libc::sockaddr_in>();

/// Reads an address that the kernel wrote. An IPv4-mapped address becomes IPv4.
pub(crate) fn decode(name: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = name.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
        }
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            let ip = Ipv6Addr::from(*ip);
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, u32::from_ne_bytes(*flow), scope)),
            })
        }
        _ => None,
    }
}

/// Writes `address` for a socket of the given family; returns how many bytes are the address.
///
/// An IPv4 address becomes IPv4-mapped on an IPv6 socket: the inverse of [`decode`].
pub(crate) fn encode(address: SocketAddr, v6_socket: bool, name: &mut [u8; NAME_BYTES]) -> usize {
    let (family, length) = match (v6_socket, address) {
        (false, SocketAddr::V4(_)) => (libc::AF_INET, NAME_V4_BYTES),
        _ => (libc::AF_INET6, NAME_BYTES),
    };
    let (flow, scope) = match address {
        SocketAddr::V4(_) => (0, 0),
        SocketAddr::V6(v6) => (v6.flowinfo(), v6.scope_id()),
    };
    // Both layouts start with family and port; the 4 bytes after them are the IPv4 address or the flow label.
    let [f0, f1] = (family as u16).to_ne_bytes();
    let [p0, p1] = address.port().to_be_bytes();
    match (family, address.ip()) {
        (libc::AF_INET, IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            *name = [0; NAME_BYTES];
            if let Some(head) = name.first_chunk_mut::<8>() {
                *head = [f0, f1, p0, p1, a, b, c, d];
            }
        }
        (_, ip) => {
            let ip = match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            let [w0, w1, w2, w3] = flow.to_ne_bytes();
            let (head, rest) = name.split_at_mut(8);
            head.copy_from_slice(&[f0, f1, p0, p1, w0, w1, w2, w3]);
            let (to, scope_bytes) = rest.split_at_mut(16);
            to.copy_from_slice(&ip.octets());
            scope_bytes.copy_from_slice(&scope.to_ne_bytes());
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(address: &str, v6: bool) -> (SocketAddr, usize) {
        let mut name = [0xff; NAME_BYTES];
        let length = encode(address.parse().unwrap(), v6, &mut name);
        (decode(&name[..length]).unwrap(), length)
    }

    #[test]
    fn addresses_survive_the_round_trip() {
        assert_eq!(round("192.0.2.7:8000", false), ("192.0.2.7:8000".parse().unwrap(), 16));
        assert_eq!(round("192.0.2.7:8000", true), ("192.0.2.7:8000".parse().unwrap(), 28));
        assert_eq!(round("[2001:db8::1]:5004", true), ("[2001:db8::1]:5004".parse().unwrap(), 28));
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, 3));
        let mut name = [0; NAME_BYTES];
        encode(scoped, true, &mut name);
        assert_eq!(decode(&name), Some(scoped));
    }

    #[test]
    fn short_or_foreign_names_are_no_address() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[2, 0, 1, 1, 127]), None);
        assert_eq!(decode(&[1; NAME_BYTES]), None);
    }

    #[test]
    fn layout_is_the_one_of_libc() {
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in, sin_addr), 4);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_addr), 8);
        assert_eq!(std::mem::offset_of!(libc::sockaddr_in6, sin6_scope_id), 24);
    }
}
