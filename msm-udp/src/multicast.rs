//! Source-specific multicast for IPv6, by the protocol-independent API of RFC 3678 §5.1.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use crate::address::{NAME_BYTES, encode};

/// Receives on `socket` what `source` sends to `group`, on the interface of that index (0: the kernel picks).
///
/// # Errors
///
/// The kernel's: `EINVAL` if `group` is not multicast, `ENODEV` if there is no such interface, `EADDRNOTAVAIL`
/// if joined already.
pub fn join_source_group_v6(
    socket: &impl AsFd,
    group: Ipv6Addr,
    source: Ipv6Addr,
    interface: u32,
) -> io::Result<()> {
    source_group(socket, libc::MCAST_JOIN_SOURCE_GROUP, group, source, interface)
}

/// Ends what [`join_source_group_v6`] began; closing the socket does so too.
///
/// # Errors
///
/// The kernel's: `EINVAL` or `EADDRNOTAVAIL` if it was not joined.
pub fn leave_source_group_v6(
    socket: &impl AsFd,
    group: Ipv6Addr,
    source: Ipv6Addr,
    interface: u32,
) -> io::Result<()> {
    source_group(socket, libc::MCAST_LEAVE_SOURCE_GROUP, group, source, interface)
}

fn source_group(
    socket: &impl AsFd,
    option: i32,
    group: Ipv6Addr,
    source: Ipv6Addr,
    interface: u32,
) -> io::Result<()> {
    // SAFETY: group_source_req is plain data; all zeroes is a valid value of it.
    let mut request: libc::group_source_req = unsafe { MaybeUninit::zeroed().assume_init() };
    request.gsr_interface = interface;
    write(&mut request.gsr_group, group);
    write(&mut request.gsr_source, source);
    // SAFETY: the pointer and length are those of `request`, which is alive until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IPV6,
            option,
            (&raw const request).cast(),
            size_of_val(&request) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write(storage: &mut libc::sockaddr_storage, ip: Ipv6Addr) {
    let mut name = [0; NAME_BYTES];
    encode(SocketAddr::from((ip, 0)), true, &mut name);
    // SAFETY: sockaddr_storage is plain data, longer than `name`, and the two don't overlap.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), (&raw mut *storage).cast(), NAME_BYTES) };
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn joins_leaves_and_reports() {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        let group = "ff3e::8000:1".parse().unwrap();
        let source = "2001:db8::7".parse().unwrap();
        // Index 1 is the loopback interface in every network namespace.
        join_source_group_v6(&socket, group, source, 1).unwrap();
        let twice = join_source_group_v6(&socket, group, source, 1).unwrap_err();
        assert_eq!(twice.kind(), io::ErrorKind::AddrNotAvailable);
        leave_source_group_v6(&socket, group, source, 1).unwrap();
        assert!(leave_source_group_v6(&socket, group, source, 1).is_err());
        let unicast = join_source_group_v6(&socket, source, source, 1).unwrap_err();
        assert_eq!(unicast.raw_os_error(), Some(libc::EINVAL));
        let nowhere = join_source_group_v6(&socket, group, source, 123_456).unwrap_err();
        assert_eq!(nowhere.raw_os_error(), Some(libc::ENODEV));
    }
}
