//! Where a flow's numbers are: an RTCP APP packet (`RFC 3550 §6.7`) named `MSMN` at the end of a compound.
//!
//! A receiver takes a sequence number for the nearest one to the last that came (`RFC 3711 §3.3.1`). After 2^15 packets that did
//! not come it would be wrong by a rollover, and could open nothing any more; RTCP carries its own whole index, opens all the
//! same, and tells.

use crate::rtcp::packet_type;

/// The name of the packets.
const NAME: [u8; 4] = *b"MSMN";

/// The index that the next packet of the flow will have: rollovers and sequence number, 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextIndex(pub u64);

impl NextIndex {
    /// Header, SSRC, name, index.
    pub const BYTES: usize = 4 + 4 + 4 + 8;

    /// The packet, as the flow's.
    pub fn write(self, ssrc: u32) -> [u8; Self::BYTES] {
        let mut packet = [0; Self::BYTES];
        let words = (Self::BYTES / 4 - 1) as u8;
        let parts: [&[u8]; 4] =
            [&[0x80, packet_type::APP, 0, words], &ssrc.to_be_bytes(), &NAME, &self.0.to_be_bytes()];
        for (place, byte) in packet.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        packet
    }

    /// What a compound ends with, if it does, and the compound before it.
    pub fn split(compound: &[u8]) -> (Option<Self>, &[u8]) {
        let none = (None, compound);
        let Some((before, last)) = compound.split_last_chunk::<{ Self::BYTES }>() else { return none };
        let Some(ssrc) = last.get(4..8).and_then(|bytes| bytes.try_into().ok()) else { return none };
        let Some(index) = last.last_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else { return none };
        let next = Self(index);
        if next.write(u32::from_be_bytes(ssrc)) == *last && index < 1 << 48 {
            (Some(next), before)
        } else {
            none
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_behind_a_compound_is_read_and_nothing_else() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let mut compound = report.to_vec();
        compound.extend(NextIndex(5 << 16 | 9).write(7));
        assert_eq!(NextIndex::split(&compound), (Some(NextIndex(5 << 16 | 9)), &report[..]));
        assert_eq!(NextIndex::split(&NextIndex(3).write(7)), (Some(NextIndex(3)), &[][..]));
        for length in 0..compound.len() {
            assert_eq!(NextIndex::split(&compound[..length]), (None, &compound[..length]));
        }
        for at in [8, 9, 11, 16, 17, 20, 21] {
            let mut other = compound.clone();
            other[at] ^= 0x80;
            let seen = NextIndex::split(&other).0;
            assert!(seen.is_none(), "{at}: {seen:?}");
        }
    }
}
