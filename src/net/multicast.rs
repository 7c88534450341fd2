//! Multicast sockets: joining a group that an upstream sends to, and sending to a group of our own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::udp::{SocketOptions, UdpSocket, prepare};

/// Joins `group` and receives what is sent to it on `port`, from `source` only where one is named.
///
/// Bound to the group's address, so that a unicast packet to the same port is another socket's business, and without
/// `IP_MULTICAST_ALL`, so that groups joined by others on this machine are not delivered here.
pub(crate) fn join(
    group: IpAddr,
    port: u16,
    source: Option<IpAddr>,
    options: &SocketOptions,
) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(group, port);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // A multicast membership is tied to a device below: binding to it would also filter what the group's sender
    // sends from this very machine.
    prepare(&socket, &SocketOptions { interface: None, ..options.clone() })?;
    match (group, source) {
        (IpAddr::V4(group), source) => {
            socket.set_multicast_all_v4(false)?;
            socket.bind(&address.into())?;
            let interface = interface_v4(options.interface.as_deref())?;
            match source {
                Some(IpAddr::V4(source)) if is_ssm(group) => {
                    socket.join_ssm_v4(&source, &group, &interface)?
                }
                _ => match options.interface.as_deref() {
                    Some(name) => {
                        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index(name)?))?;
                    }
                    None => socket.join_multicast_v4(&group, &interface)?,
                },
            }
        }
        (IpAddr::V6(group), source) => {
            socket.set_multicast_all_v6(false)?;
            socket.bind(&address.into())?;
            let index = options.interface.as_deref().map_or(Ok(0), index)?;
            match source {
                Some(IpAddr::V6(source)) if is_ssm_v6(group) => {
                    msm_udp::join_source_group_v6(&socket, group, source, index)?;
                }
                _ => socket.join_multicast_v6(&group, index)?,
            }
        }
    }
    UdpSocket::adopt(socket, options)
}

/// A socket that sends to groups with `ttl`, looped back so that readers on this machine hear it.
pub(crate) fn sender(v6: bool, ttl: u8, options: &SocketOptions) -> io::Result<UdpSocket> {
    let any: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let address = SocketAddr::new(any, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, &SocketOptions { interface: None, ..options.clone() })?;
    if v6 {
        socket.set_multicast_hops_v6(u32::from(ttl))?;
        socket.set_multicast_loop_v6(true)?;
        if let Some(name) = options.interface.as_deref() {
            socket.set_multicast_if_v6(index(name)?)?;
        }
    } else {
        socket.set_multicast_ttl_v4(u32::from(ttl))?;
        socket.set_multicast_loop_v4(true)?;
        if let Some(name) = options.interface.as_deref() {
            socket.set_multicast_if_v4(&interface_v4(Some(name))?)?;
        }
    }
    socket.bind(&address.into())?;
    UdpSocket::adopt(socket, options)
}

/// Source-specific range, 232/8 (`RFC 4607`).
fn is_ssm(group: Ipv4Addr) -> bool {
    group.octets()[0] == 232
}

/// Source-specific range, FF3x::/32 (`RFC 4607`).
fn is_ssm_v6(group: Ipv6Addr) -> bool {
    group.segments()[0] & 0xfff0 == 0xff30
}

fn index(name: &str) -> io::Result<u32> {
    if_nametoindex(name)
        .map_err(|error| io::Error::new(io::ErrorKind::NotFound, format!("interface `{name}`: {error}")))
}

/// The interface's first IPv4 address, which names it to the IPv4 multicast options.
fn interface_v4(name: Option<&str>) -> io::Result<Ipv4Addr> {
    let Some(name) = name else { return Ok(Ipv4Addr::UNSPECIFIED) };
    getifaddrs()?
        .filter(|entry| entry.interface_name == name)
        .find_map(|entry| entry.address.as_ref()?.as_sockaddr_in().map(|address| address.ip()))
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("interface `{name}` has no IPv4 address"))
        })
}
