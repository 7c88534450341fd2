//! The sum of packets, bit by bit without carry.

use super::Refusal;

/// Bytes of the fixed RTP header.
pub(crate) const FIXED: usize = 12;

/// The longest packet that a code can name: its length field counts 65535 bytes behind the fixed header, a datagram fewer.
pub const MAX_PACKET: usize = 65_535;

/// Adds `data` to `sum`, as far as both reach.
///
/// The loop has no branch, so the compiler makes whole registers of it.
#[inline]
pub(crate) fn add(sum: &mut [u8], data: &[u8]) {
    for (sum, data) in sum.iter_mut().zip(data) {
        *sum ^= data;
    }
}

/// What is protected of the fixed header: the first eight bytes of the bit string (RFC 8627 §6.2, RFC 5109 §8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes 0 and 1 of packets. The two bits of the version mean nothing.
    pub(crate) flags: [u8; 2],
    /// Bytes behind the fixed header.
    pub(crate) length: u16,
    pub(crate) timestamp: u32,
}

impl Head {
    /// Head and body of a packet.
    pub(crate) fn split(packet: &[u8]) -> Result<(Self, &[u8]), Refusal> {
        let (fixed, body) = packet.split_first_chunk::<FIXED>().ok_or(Refusal::Short)?;
        let length = u16::try_from(body.len()).map_err(|_| Refusal::TooLong)?;
        let [flags, marker, _, _, t0, t1, t2, t3, ..] = *fixed;
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        Ok((Self { flags: [flags, marker], length, timestamp }, body))
    }

    pub(crate) fn add(&mut self, other: Self) {
        add(&mut self.flags, &other.flags);
        self.length ^= other.length;
        self.timestamp ^= other.timestamp;
    }
}

/// The sum of the packets that one repair packet will protect. Keeps its memory from one to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parity {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) count: usize,
}

impl Parity {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { body: Vec::with_capacity(bytes), ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.head = Head::default();
        self.body.clear();
        self.count = 0;
    }

    /// Adds a packet; shorter ones count as filled with zeros.
    pub(crate) fn add(&mut self, head: Head, body: &[u8]) {
        self.head.add(head);
        let common = self.body.len().min(body.len());
        let (both, more) = body.split_at_checked(common).unwrap_or((body, &[]));
        add(&mut self.body, both);
        self.body.extend_from_slice(more);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, timestamp: u32, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 96, 0, 1];
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(body);
        packet
    }

    #[test]
    fn sums_pad_the_shorter_packet_whichever_comes_first() {
        let (short, long) = (packet(0x80, 3, &[1, 2]), packet(0xa0, 5, &[4, 4, 4, 4]));
        for order in [[&short, &long], [&long, &short]] {
            let mut parity = Parity::with_capacity(16);
            for packet in order {
                let (head, body) = Head::split(packet).unwrap();
                parity.add(head, body);
            }
            assert_eq!(parity.body, [5, 6, 4, 4]);
            assert_eq!(parity.head, Head { flags: [0x20, 0], length: 2 ^ 4, timestamp: 6 });
            assert_eq!(parity.count, 2);
            parity.clear();
            assert_eq!((parity.count, parity.head, parity.body.len()), (0, Head::default(), 0));
        }
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        assert_eq!(Head::split(&[0x80; 11]), Err(Refusal::Short));
        assert!(Head::split(&[0x80; 12]).is_ok());
        assert_eq!(Head::split(&vec![0x80; FIXED + 65_536]), Err(Refusal::TooLong));
    }
}
