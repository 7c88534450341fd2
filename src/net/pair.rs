//! The RTP and RTCP socket of one flow: an even port and the odd one above it (`RFC 3550 §11`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::udp::{SocketOptions, UdpSocket};

/// The two sockets of a track, or of all readers of a listener.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) rtp: Rc<UdpSocket>,
    pub(crate) rtcp: Rc<UdpSocket>,
}

impl Pair {
    /// Binds a fixed pair.
    pub(crate) fn bind(ip: IpAddr, port: u16, options: &SocketOptions) -> io::Result<Self> {
        let next = port.checked_add(1).ok_or(io::ErrorKind::InvalidInput)?;
        let rtp = UdpSocket::bind(SocketAddr::new(ip, port), options)?;
        let rtcp = UdpSocket::bind(SocketAddr::new(ip, next), options)?;
        Ok(Self { rtp: Rc::new(rtp), rtcp: Rc::new(rtcp) })
    }

    /// The same, at whose ports others may join.
    pub(crate) fn shared(self) -> io::Result<Self> {
        self.rtp.share()?;
        self.rtcp.share()?;
        Ok(self)
    }

    /// The ports, RTP first.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.rtp.local_addr().port(), self.rtcp.local_addr().port())
    }
}

/// See [`PairRange::ephemeral`].
const EPHEMERAL: RangeInclusive<u16> = 16_384..=32_767;

/// Hands out pairs from a bounded range, round robin, skipping those in use.
pub(crate) struct PairRange {
    first: u16,
    pairs: u32,
    next: AtomicU32,
}

impl PairRange {
    /// The pairs taken where none are configured: below the range that the system itself hands out from. Begins at a
    /// place that differs between processes, so that those of one machine rarely try the same pair.
    pub(crate) fn ephemeral() -> Self {
        let range = Self::new(EPHEMERAL);
        range.next.store(std::process::id().wrapping_mul(97) % range.pairs.max(1), Ordering::Relaxed);
        range
    }

    /// The even-odd pairs that fit in `range`.
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        let first = range.start().saturating_add(range.start() & 1);
        let pairs = (u32::from(*range.end()) + 1).saturating_sub(u32::from(first)) / 2;
        Self { first, pairs, next: AtomicU32::new(0) }
    }

    /// Binds a free pair.
    ///
    /// # Errors
    /// `AddrInUse` when every pair of the range is taken; any other error of the kernel as it is.
    pub(crate) fn bind(&self, ip: IpAddr, options: &SocketOptions) -> io::Result<Pair> {
        for _ in 0..self.pairs {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.pairs.max(1);
            let Ok(port) = u16::try_from(u32::from(self.first) + turn * 2) else { continue };
            match Pair::bind(ip, port, options) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                outcome => return outcome,
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("no free even-odd port pair among the {} from {}: widen `ports`", self.pairs, self.first),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn pairs_are_even_odd_and_end_with_the_range() {
        let range = PairRange::new(45_101..=45_106);
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let options = SocketOptions::default();
        let first = range.bind(ip, &options).unwrap();
        let second = range.bind(ip, &options).unwrap();
        assert_eq!((first.ports(), second.ports()), ((45_102, 45_103), (45_104, 45_105)));
        let refused = range.bind(ip, &options).map(|_| ()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert_eq!(range.bind(ip, &options).unwrap().ports(), (45_102, 45_103));
    }
}
