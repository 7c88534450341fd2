//! The FEC packet: an RTP header of 12 bytes, a FEC header of 16, and the sum (RFC 6015 §4.2 has the same form).

use crate::xor::recover::{FIXED, Head, Parity, Refusal};

/// Bytes of both headers.
pub(crate) const HEADERS: usize = FIXED + 16;

/// What is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Each L-th packet: port + 2.
    Column,
    /// Consecutive packets: port + 4.
    Row,
}

/// What a FEC packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecPacket {
    /// The D bit.
    pub direction: Direction,
    /// The first protected packet.
    pub base: u16,
    /// Steps from one protected packet to the next: L in a column, 1 in a row.
    pub offset: u8,
    /// How many packets are protected: D in a column, L in a row.
    pub count: u8,
    /// The payload type of the FEC packet.
    pub payload_type: u8,
    pub(crate) head: Head,
}

impl FecPacket {
    /// Reads the headers of a FEC packet.
    ///
    /// # Errors
    ///
    /// [`Refusal::Short`], [`Refusal::NotRtp`] with another version than 2, [`Refusal::Code`] with a Hamming or Reed-Solomon code.
    pub fn parse(packet: &[u8]) -> Result<Self, Refusal> {
        let headers: &[u8; HEADERS] = packet.first_chunk().ok_or(Refusal::Short)?;
        let [first, second, ..] = *headers;
        let [.., b0, b1, l0, l1, payload_type, _, _, _, t0, t1, t2, t3, kind, offset, count, _] = *headers;
        if first >> 6 != 2 {
            return Err(Refusal::NotRtp);
        }
        // N, D, three bits of type, three of index. The type is 0 for XOR.
        if kind & 0x38 != 0 {
            return Err(Refusal::Code);
        }
        Ok(Self {
            direction: if kind & 0x40 == 0 { Direction::Column } else { Direction::Row },
            base: u16::from_be_bytes([b0, b1]),
            offset,
            count,
            payload_type: second & 0x7f,
            head: Head {
                // P, X, CC and M are sums in the RTP header, the payload type has its own place.
                flags: [first & 0x3f, second & 0x80 | payload_type & 0x7f],
                length: u16::from_be_bytes([l0, l1]),
                timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            },
        })
    }

    /// Appends a FEC packet, but for number and timestamp. Its SSRC is 0, as everybody's is.
    pub(crate) fn write(
        direction: Direction,
        base: u16,
        (offset, count): (u8, u8),
        payload_type: u8,
        parity: &Parity,
        out: &mut Vec<u8>,
    ) {
        let [flags, marker] = parity.head.flags;
        out.extend([0x80 | flags & 0x3f, marker & 0x80 | payload_type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend(base.to_be_bytes());
        out.extend(parity.head.length.to_be_bytes());
        // E is always set, the mask that it stands in front of always empty.
        out.extend([0x80 | marker & 0x7f, 0, 0, 0]);
        out.extend(parity.head.timestamp.to_be_bytes());
        let kind = if direction == Direction::Row { 0x40 } else { 0 };
        out.extend([kind, offset, count, 0]);
        out.extend_from_slice(&parity.body);
    }
}
