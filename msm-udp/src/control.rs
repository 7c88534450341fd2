//! Control messages (`cmsg(3)`) as bytes, in the kernel's layout: a header of length, level and type, then data,
//! each message aligned to the size of a pointer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Explicit congestion notification of a datagram (RFC 3168 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// ECT(1), 0b01.
    Ect1,
    /// ECT(0), 0b10.
    Ect0,
    /// Congestion experienced, 0b11.
    Ce,
}

impl Ecn {
    /// The code point in the low two bits of a TOS or traffic class octet; `None` is Not-ECT.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0b01 => Some(Self::Ect1),
            0b10 => Some(Self::Ect0),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }

    /// The two bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }
}

const ALIGN: usize = size_of::<usize>();
const HEADER: usize = align(size_of::<usize>() + 2 * size_of::<i32>());

const fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

/// Room a message with so many bytes of data takes.
const fn space(data: usize) -> usize {
    HEADER + align(data)
}

/// Room for every message a receive can carry: IPv6 destination, traffic class and TOS (a dual-stack socket may
/// get either), GRO segment size, drop counter; and a time stamp, should the owner of the socket have asked for it.
pub(crate) const RECV_BYTES: usize = space(20) + space(4) * 4 + space(16);

/// Room for every message a send can carry: source address, traffic class, GSO segment size.
pub(crate) const SEND_BYTES: usize = space(20) + space(4) + space(2);

/// Received control data; aligned because the kernel's writes are quicker so, not because the reader needs it.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct RecvControl(pub(crate) [u8; RECV_BYTES]);

/// What the control messages of one receive said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) ecn: Option<Ecn>,
    pub(crate) destination: Option<IpAddr>,
    /// GRO segment size in bytes.
    pub(crate) stride: Option<usize>,
    /// Cumulative count of datagrams the socket dropped, modulo 2^32.
    pub(crate) drops: Option<u32>,
}

/// Reads the control messages of one receive; unknown ones are skipped, a malformed one ends it.
pub(crate) fn decode(mut control: &[u8]) -> Info {
    let mut info = Info::default();
    while let Some((level, kind, data, rest)) = next(control) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                info.ecn = data.first().and_then(|bits| Ecn::from_bits(*bits));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                info.ecn = int(data).and_then(|class| Ecn::from_bits(class.to_le_bytes()[0]));
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // struct in_pktinfo: interface index, local address, then the header's destination.
                info.destination = data
                    .get(8..)
                    .and_then(|data| data.first_chunk::<4>())
                    .map(|ip| Ipv4Addr::from(*ip).into());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                info.destination =
                    data.first_chunk::<16>().map(|ip| IpAddr::from(Ipv6Addr::from(*ip)).to_canonical());
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                info.stride = int(data).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                info.drops = data.first_chunk::<4>().map(|count| u32::from_ne_bytes(*count));
            }
            _ => {}
        }
        control = rest;
    }
    info
}

fn int(data: &[u8]) -> Option<i32> {
    data.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// Level, type, data, and what follows.
fn next(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let (length, fields) = control.split_first_chunk::<{ size_of::<usize>() }>()?;
    let length = usize::from_ne_bytes(*length);
    let (level, fields) = fields.split_first_chunk::<4>()?;
    let kind = fields.first_chunk::<4>()?;
    let data = control.get(HEADER..length)?;
    // The last message may be without its padding.
    let rest = control.get(length.checked_next_multiple_of(ALIGN)?..).unwrap_or_default();
    Some((i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind), data, rest))
}

/// Control messages to send.
#[derive(Debug)]
#[repr(align(8))]
pub(crate) struct SendControl {
    bytes: [u8; SEND_BYTES],
    length: usize,
}

impl SendControl {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; SEND_BYTES], length: 0 }
    }

    /// The bytes written so far.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        let length = self.length;
        self.bytes.get_mut(..length).unwrap_or_default()
    }

    /// Takes all messages out.
    pub(crate) fn clear(&mut self) {
        self.length = 0;
    }

    /// GSO segment size.
    pub(crate) fn push_segment_size(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// The whole TOS octet (IPv4).
    pub(crate) fn push_tos(&mut self, tos: u8) {
        self.push(libc::IPPROTO_IP, libc::IP_TOS, &i32::from(tos).to_ne_bytes());
    }

    /// The whole traffic class octet (IPv6).
    pub(crate) fn push_traffic_class(&mut self, class: u8) {
        self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &i32::from(class).to_ne_bytes());
    }

    /// The address to send from.
    pub(crate) fn push_source(&mut self, source: IpAddr) {
        match source.to_canonical() {
            IpAddr::V4(ip) => {
                // struct in_pktinfo: interface index 0 (any), local address, unused.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(ip) => {
                // struct in6_pktinfo: address, interface index 0 (any).
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let total = space(data.len());
        let Some(room) = self.bytes.get_mut(self.length..).and_then(|room| room.get_mut(..total)) else {
            // `SEND_BYTES` has room for one message of each kind; each is pushed at most once.
            debug_assert!(false, "no room for control message {level}/{kind}");
            return;
        };
        let (header, body) = room.split_at_mut(HEADER);
        let (length, fields) = header.split_at_mut(size_of::<usize>());
        length.copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        let (level_bytes, kind_bytes) = fields.split_at_mut(4);
        level_bytes.copy_from_slice(&level.to_ne_bytes());
        if let Some(kind_bytes) = kind_bytes.first_chunk_mut::<4>() {
            *kind_bytes = kind.to_ne_bytes();
        }
        if let Some(body) = body.get_mut(..data.len()) {
            body.copy_from_slice(data);
        }
        self.length += total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    #[test]
    fn layout_is_the_one_of_libc() {
        // SAFETY: CMSG_LEN is arithmetic.
        assert_eq!(HEADER, unsafe { libc::CMSG_LEN(0) } as usize);
        // SAFETY: CMSG_SPACE is arithmetic.
        assert_eq!(space(20), unsafe { libc::CMSG_SPACE(20) } as usize);
    }

    #[test]
    fn every_message_is_read() {
        let mut control = message(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        control.extend(message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7u32.to_ne_bytes()));
        control.extend(message(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &[0; 16]));
        control.extend(message(libc::IPPROTO_IP, libc::IP_TOS, &[0xb8 | 0b11]));
        control.extend(message(libc::IPPROTO_IP, libc::IP_PKTINFO, &[9, 0, 0, 0, 1, 1, 1, 1, 127, 0, 0, 5]));
        let expected = Info {
            ecn: Some(Ecn::Ce),
            destination: Some("127.0.0.5".parse().unwrap()),
            stride: Some(1200),
            drops: Some(7),
        };
        assert_eq!(decode(&control), expected);
    }

    #[test]
    fn lying_lengths_end_the_reading() {
        let good = message(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        for length in [0usize, 1, HEADER - 1, 4096, usize::MAX] {
            let mut bad = good.clone();
            bad[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            bad.extend(&good);
            assert_eq!(decode(&bad), Info::default(), "length {length}");
        }
        for cut in 0..good.len() - 4 {
            assert_eq!(decode(&good[..cut]), Info::default(), "cut at {cut}");
        }
    }

    #[test]
    fn everything_to_send_fits() {
        let mut control = SendControl::new();
        control.push_segment_size(1200);
        control.push_traffic_class(0b10);
        control.push_source("2001:db8::1".parse().unwrap());
        assert_eq!(control.as_mut_slice().len(), SEND_BYTES);
        let info = decode(control.as_mut_slice());
        assert_eq!(info.ecn, Some(Ecn::Ect0));
        assert_eq!(info.destination, Some("2001:db8::1".parse().unwrap()));
    }
}
