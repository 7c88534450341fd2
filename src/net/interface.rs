//! The addresses of network interfaces.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// The interface's first address of each family, IPv4 before IPv6; of those that hold on its link alone (`RFC 4291 §2.5.6`) none.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no such interface, or it has no address.
pub(crate) fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    let (mut v4, mut v6) = (None, None);
    for entry in getifaddrs()?.filter(|entry| entry.interface_name == name) {
        let Some(address) = entry.address else { continue };
        if let Some(address) = address.as_sockaddr_in() {
            v4.get_or_insert(IpAddr::V4(address.ip()));
        }
        if let Some(address) = address.as_sockaddr_in6().map(|address| address.ip())
            && !address.is_unicast_link_local()
        {
            v6.get_or_insert(IpAddr::V6(address));
        }
    }
    let addresses: Vec<_> = [v4, v6].into_iter().flatten().collect();
    if addresses.is_empty() {
        let why = format!("interface `{name}` has no address");
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(addresses)
}
