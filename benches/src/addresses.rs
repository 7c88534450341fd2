//! Where the sinks are: one loopback address a reader, one port pair for all.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use crate::Result;

/// The address of reader `index`, in 127.1.0.0/16 and above.
pub fn reader_ip(index: usize) -> Ipv4Addr {
    let (high, low) = (index / 250, index % 250);
    Ipv4Addr::new(127, 1 + (high / 250) as u8, (high % 250) as u8, 1 + low as u8)
}

/// The RTP address of each of `readers` readers.
pub fn reader_addresses(readers: usize, port: u16) -> Vec<SocketAddr> {
    (0..readers).map(|index| SocketAddr::from((reader_ip(index), port))).collect()
}

/// An even port that is free on all addresses, with its odd neighbour.
///
/// # Errors
///
/// None of 1000 candidates is free.
pub fn free_port_pair() -> Result<u16> {
    // Below the range of ephemeral ports, from a place of its own for each process.
    let start = 12_000 + (std::process::id() % 4000) as u16 * 2;
    for step in 0..1000u16 {
        let port = 12_000 + (start - 12_000 + step * 2) % 20_000;
        let free = |port| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if free(port) && free(port + 1) {
            return Ok(port);
        }
    }
    Err("no free port pair".into())
}

/// A server's address: this last byte, a free port.
///
/// # Errors
///
/// No port is free.
pub fn at(ip: u8) -> Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::new(127, 0, 0, ip), free_port_pair()?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn readers_have_addresses_of_their_own() {
        let all: BTreeSet<_> = reader_addresses(5000, 8000).into_iter().collect();
        assert_eq!(all.len(), 5000);
        assert!(all.iter().all(|address| address.ip().is_loopback()));
    }
}
